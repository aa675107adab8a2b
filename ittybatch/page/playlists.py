"""HLS in a private bucket: playlists whose segments have signed addresses.

A playlist names its segments relative to itself, so a signature of the playlist does not cover
them. The page serves the playlist with the addresses replaced: those of segments by signed ones,
those of other playlists by the page's own. Only what a playlist lists, below its own folder, is
signed. https://www.rfc-editor.org/rfc/rfc8216
"""

import posixpath
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote, urlsplit

from ittybatch.errors import IttybatchError

CONTENT_TYPE = "application/vnd.apple.mpegurl"
MAX_BYTES = 2_000_000
_MAX_ADDRESSES = 2_000
_SUFFIX = ".m3u8"
_BEGIN = "#EXTM3U"
# Browsers that play HLS themselves go by the type, and many uploads have none.
_SEGMENT_TYPES = {
    ".ts": "video/mp2t",
    ".m4s": "video/iso.segment",
    ".mp4": "video/mp4",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    ".vtt": "text/vtt",
}
# Attributes of tags that name another file: EXT-X-MAP, EXT-X-MEDIA, EXT-X-KEY.
_URI = re.compile(r'(?<=[:,]URI=")([^"]*)(?=")')


class UnusablePlaylist(IttybatchError):
    """An output is not an HLS playlist, or names files that are not beside it."""


def rewritten(
    playlist: bytes, folder: str, *, sign: Callable[[str], str], nested: Callable[[str], str]
) -> str:
    """Replace the relative addresses in a playlist.

    Args:
        playlist: The playlist.
        folder: Key of its folder, with a slash at its end unless it is empty.
        sign: Returns the signed address of a key.
        nested: Returns the page's address of another playlist, by its path below the folder.

    Raises:
        UnusablePlaylist: It is no playlist, too large, or names a file outside its folder.
    """
    count = 0

    def replace(reference: str) -> str:
        nonlocal count
        count += 1
        if count > _MAX_ADDRESSES:
            raise UnusablePlaylist(f"The playlist has more than {_MAX_ADDRESSES:,} segments.")
        path = _path(reference)
        if path is None:
            return reference
        return nested(path) if path.endswith(_SUFFIX) else sign(folder + path)

    return "\n".join(_lines(playlist, replace)) + "\n"


def lists(playlist: bytes, path: str) -> bool:
    """Say whether a playlist lists a file, by its path below the playlist's folder.

    Raises:
        UnusablePlaylist: As for `rewritten`.
    """
    found: set[str | None] = set()

    def note(reference: str) -> str:
        found.add(_path(reference))
        return reference

    for _ in _lines(playlist, note):
        pass
    return path in found


def segment_type(key: str) -> str:
    """The content type of a segment, by its suffix; empty if it is unknown."""
    return _SEGMENT_TYPES.get(posixpath.splitext(key)[1].lower(), "")


def _lines(playlist: bytes, replace: Callable[[str], str]) -> Iterator[str]:
    text = playlist.decode("utf-8", "replace").removeprefix("\ufeff")
    if len(playlist) > MAX_BYTES or not text.startswith(_BEGIN):
        raise UnusablePlaylist("The output is not an HLS playlist, or it is too large.")
    for line in map(str.strip, text.splitlines()):
        if line.startswith("#"):
            yield _URI.sub(lambda found: replace(found[1]), line)
        elif line:
            yield replace(line)


def _path(reference: str) -> str | None:
    """The path of a file beside the playlist; None for a web address, which stays as it is."""
    try:
        parts = urlsplit(reference)
    except ValueError:
        raise UnusablePlaylist("The playlist has an address that cannot be read.") from None
    if parts.scheme in {"http", "https"} and parts.netloc:
        return None
    path = posixpath.normpath(unquote(parts.path))
    if parts.scheme or parts.netloc or path.startswith(("/", "..")) or path == ".":
        raise UnusablePlaylist("The playlist names a file that is not in its own folder.")
    return path
