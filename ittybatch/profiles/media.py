"""Which medium a file holds, by its suffix."""

import mimetypes
from enum import StrEnum
from functools import lru_cache


class Media(StrEnum):
    """What a source file is: something to watch, hear or look at."""

    VIDEO = "video"
    AUDIO = "audio"
    IMAGE = "image"


# Python's own table depends on the machine. Common suffixes are listed here, so that a plan is
# the same on every worker.
_SUFFIXES = {
    Media.VIDEO: """
        .3g2 .3gp .asf .avi .dv .f4v .flv .m1v .m2ts .m2v .m4v .mkv .mov .mp4 .mpe .mpeg
        .mpg .mts .mxf .ogv .qt .rm .rmvb .ts .vob .webm .wmv
    """,
    Media.AUDIO: """
        .aac .ac3 .aif .aifc .aiff .alac .amr .ape .au .caf .flac .m4a .m4b .mka .mp2 .mp3
        .oga .ogg .opus .wav .weba .wma .wv
    """,
    Media.IMAGE: """
        .avif .bmp .gif .heic .heif .jfif .jpe .jpeg .jpg .jxl .png .tif .tiff .webp
    """,
}
_BY_SUFFIX = {suffix: media for media, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}


@lru_cache(maxsize=4096)
def media_of(suffix: str) -> Media | None:
    """Return the medium of a suffix.

    Args:
        suffix: With its dot, in any case, such as `.MOV`.

    Returns:
        The medium, or None where the suffix is unknown or names something else.
    """
    known = _BY_SUFFIX.get(suffix.lower())
    if known is not None or not suffix:
        return known
    guess, _ = mimetypes.guess_type(f"file{suffix}", strict=False)
    family = guess.partition("/")[0] if guess else ""
    # A browser treats vector drawings as images; an encoder does not.
    if family not in set(Media) or guess == "image/svg+xml":
        return None
    return Media(family)
