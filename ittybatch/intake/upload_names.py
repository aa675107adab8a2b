"""The keys of uploads, made from names that strangers chose."""

import mimetypes
import re
import secrets
import unicodedata
from pathlib import PurePosixPath

from ittybatch.profiles.media import media_of

MAX_NAME = 1000
_MAX_STEM = 80
# 128 bits: nobody guesses a key, and no two uploads share one.
_RANDOM_BYTES = 16
_UNNAMED = "upload"
_SUFFIX = re.compile(r"\.[a-z0-9]{1,10}")
_KEY = re.compile(r"[0-9a-f]{32}-[^/\\\x00]{1,200}")
_SEPARATORS = re.compile(r"[/\\]")
_RUNS = re.compile(r"[^\w.-]+|\.{2,}|-{2,}")
# mimetypes' tables without those of this machine, so that a key does not depend on it.
_TYPES = mimetypes.MimeTypes()
# Types that media files commonly have. For some, mimetypes has no suffix or an odd one.
_SUFFIXES = {
    "audio/aac": ".aac",
    "audio/flac": ".flac",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "audio/webm": ".weba",
    "audio/x-m4a": ".m4a",
    "image/avif": ".avif",
    "image/gif": ".gif",
    "image/heic": ".heic",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/webp": ".webp",
    "video/mp2t": ".ts",
    "video/mp4": ".mp4",
    "video/mpeg": ".mpg",
    "video/ogg": ".ogv",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/x-m4v": ".m4v",
}
_BY_SUFFIX = {suffix: each for each, suffix in reversed(_SUFFIXES.items())}


def upload_key(prefix: str, filename: str, content_type: str, token: str | None = None) -> str:
    """Make the key of a new upload: random, then what is safe of the file's name.

    The random part is in the file's name, not in a folder, so that destinations made from
    names do not collide.

    Args:
        prefix: The folder, empty or with a slash at its end.
        filename: The name that the user's machine gave; anything may be in it.
        content_type: Type of the file; it gives a suffix to a name without a usable one.
        token: 32 hexadecimal digits that nobody guesses, for a key that can be made again; None
            for new ones.

    Returns:
        `uploads/6b1f...e2-my-clip.mov`. Its last part begins with a hexadecimal digit, so it is
        neither hidden nor a path.
    """
    stem, suffix = _split(filename)
    if media_of(suffix) is None:
        suffix = guess_extension(content_type) or suffix
    return f"{prefix}{token or secrets.token_hex(_RANDOM_BYTES)}-{stem or _UNNAMED}{suffix}"


def is_upload_key(prefix: str, key: str) -> bool:
    """Whether a key is one that `upload_key` has made."""
    return key.startswith(prefix) and _KEY.fullmatch(key.removeprefix(prefix)) is not None


def known_types() -> list[str]:
    """Types of media that files commonly have, the video types first."""
    return sorted(_SUFFIXES, key=lambda each: (not each.startswith("video/"), each))


def guess_type(filename: str) -> str | None:
    """Guess the content type of a file by its suffix, for browsers that do not know it."""
    suffix = PurePosixPath(filename).suffix.lower()
    return _BY_SUFFIX.get(suffix) or _TYPES.guess_type(f"file{suffix}")[0]


def guess_extension(content_type: str) -> str | None:
    """Guess the suffix, with its dot, that files of a type have."""
    return _SUFFIXES.get(content_type) or _TYPES.guess_extension(content_type)


def with_suffix(filename: str, content_type: str) -> str:
    """Add the suffix of a type to a name that has none of that type: `film` becomes `film.mov`."""
    wanted = guess_extension(content_type) or ""
    name = filename or _UNNAMED
    suffix = PurePosixPath(name).suffix.lower()
    if suffix and (suffix == wanted or guess_type(name) == content_type):
        return name
    return f"{name}{wanted}"


def _split(filename: str) -> tuple[str, str]:
    name = unicodedata.normalize("NFC", _SEPARATORS.split(filename)[-1])
    stem, dot, suffix = name.rpartition(".")
    suffix = f"{dot}{suffix}".lower()
    if not stem or not _SUFFIX.fullmatch(suffix):
        stem, suffix = name, ""
    cleaned = _RUNS.sub("-", stem)[:_MAX_STEM].strip("-._")
    return cleaned, suffix
