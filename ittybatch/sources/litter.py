"""What lies in buckets beside media: found by its name."""

import re

# In small letters, with the folders' own slash or a line end before and after: see `entry.Rule`.
_STARTS = ("/.", "\n.", "/~$", "\n~$")
_WHOLE_NAMES = ("thumbs.db", "desktop.ini", "ehthumbs.db", "@eadir", "#recycle", "$recycle.bin",
                "__macosx", "lost+found")  # fmt: skip
_UNFINISHED = ("tmp", "part", "partial", "crdownload", "filepart", "opdownload", "aria2", "!ut")
_STREAMING = ("m3u8", "mpd", "m4s")
_STREAM_FOLDERS = ("hls", "dash")
_PIECES = ("seg", "chunk", "frag", "filesequence", "media", "index", "playlist", "stream", "init")

HIDDEN_HINTS = (*_STARTS, *_WHOLE_NAMES, *(f".{ending}\n" for ending in _UNFINISHED))
SEGMENT_HINTS = (
    *(f".{ending}\n" for ending in (*_STREAMING, "ts")),
    *(f"{before}{folder}/" for folder in _STREAM_FOLDERS for before in "/\n"),
)

_HIDDEN = re.compile(
    # A folder or a file with a dot before its name; `..` is a name that some programs write.
    r"(?:^|/)(?:\.(?!\.?(?:/|$))|~\$)"
    rf"|(?:^|/)(?:{'|'.join(map(re.escape, _WHOLE_NAMES))})(?:/|$)"
    rf"|\.(?:{'|'.join(map(re.escape, _UNFINISHED))})$",
    re.IGNORECASE,
)
_SEGMENT = re.compile(
    rf"\.(?:{'|'.join(_STREAMING)})$"
    # Recordings are transport streams, too: only numbered pieces are left out.
    rf"|(?:^|/)(?:(?:{'|'.join(_PIECES)})[^/]*)?\d+\.ts$"
    rf"|(?:^|/)(?:{'|'.join(_STREAM_FOLDERS)})/(?:.*/)?"
    rf"(?:[^/]*\.ts|(?:{'|'.join(_PIECES)})[^/]*\.(?:mp4|m4a|m4v|aac|vtt))$",
    re.IGNORECASE,
)


def is_hidden(path: str) -> bool:
    """Say whether a file manager hides a path, or an upload to it has not ended.

    Args:
        path: Below the folder that is read.
    """
    return _HIDDEN.search(path) is not None


def is_segment(path: str) -> bool:
    """Say whether a path is a playlist or a segment of a stream that some encoder made.

    Args:
        path: Below the folder that is read.
    """
    return _SEGMENT.search(path) is not None
