"""Recognise file formats by their first bytes."""

# Long enough for every signature below, and fits in one network packet.
LONGEST = 64
# An MPEG audio frame begins with eleven set bits; the layer distinguishes AAC from MP3.
_SYNC = 0xFF
_SYNC_MASK = 0xE0
_LAYER_MASK = 0x06
_BOX = slice(4, 8)
_BRAND = slice(8, 12)
_BEGINS = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"ID3", "mp3"),
    (b"#EXTM3U", "hls"),
    (b"WEBVTT", "vtt"),
)
_RIFF = {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi"}
_STILLS = {b"avif": "avif", b"avis": "avif", b"heic": "heic", b"mif1": "heic"}
_OLD_QUICKTIME = {b"moov", b"mdat", b"wide", b"free"}
# The signatures that each format may have. A container does not show its codec.
_FITTING = {
    "mp4": {"mp4"},
    "mov": {"mp4"},
    "m4a": {"mp4"},
    "webm": {"matroska"},
    "mkv": {"matroska"},
    "mp3": {"mp3"},
    "aac": {"aac", "mp4"},
    "ogg": {"ogg"},
    "opus": {"ogg", "matroska"},
    "wav": {"wav"},
    "flac": {"flac", "ogg"},
    "jpeg": {"jpeg"},
    "jpg": {"jpeg"},
    "png": {"png"},
    "webp": {"webp"},
    "avif": {"avif", "heic"},
    "gif": {"gif"},
    "hls": {"hls"},
    "m3u8": {"hls"},
}


def fits(beginning: bytes, file_format: str) -> bool | None:
    """Check whether a file that begins with these bytes can have a format.

    Args:
        beginning: The file's first bytes; `LONGEST` are enough.
        file_format: Ittybit's name for the format, for example `mp4` or `jpeg`.

    Returns:
        Whether it can; None if the format is unknown.
    """
    fitting = _FITTING.get(file_format.lower())
    return None if fitting is None else sign_of(beginning) in fitting


def sign_of(beginning: bytes) -> str | None:
    """Return the signature of a file that begins with these bytes; None if it is unknown."""
    for begin, sign in _BEGINS:
        if beginning.startswith(begin):
            return sign
    return _riff(beginning) or _boxes(beginning) or _frames(beginning)


def _riff(beginning: bytes) -> str | None:
    return _RIFF.get(beginning[_BRAND]) if beginning.startswith(b"RIFF") else None


def _boxes(beginning: bytes) -> str | None:
    box = beginning[_BOX]
    if box == b"ftyp":
        return _STILLS.get(beginning[_BRAND], "mp4")
    return "mp4" if box in _OLD_QUICKTIME else None


def _frames(beginning: bytes) -> str | None:
    if len(beginning) < 2 or beginning[0] != _SYNC or beginning[1] & _SYNC_MASK != _SYNC_MASK:  # noqa: PLR2004
        return None
    return "mp3" if beginning[1] & _LAYER_MASK else "aac"
