"""Values made fit for a destination's key."""

import re

# Control characters, line separators and bidirectional overrides hide what a key says;
# a backslash is a separator to Windows tools; a lone surrogate has no UTF-8.
_UNFIT = re.compile(
    r"[\x00-\x1f\x7f-\x9f\\\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_UNFIT_IN_BUCKET = re.compile(r"[^a-z0-9.-]+")


def has_unfit_characters(text: str) -> bool:
    """Say whether a text holds what no destination may hold."""
    return _UNFIT.search(text) is not None


def clean_segment(text: str) -> str:
    """Make a text one segment of a key: no slash, nothing unseen, never `.` or `..`."""
    cleaned = _UNFIT.sub("_", text).replace("/", "_")
    return "_" * len(cleaned) if cleaned in {".", ".."} else cleaned


def clean_path(text: str) -> str:
    """Make a text a relative path: each segment clean, empty ones dropped."""
    if not _UNFIT.search(text) and "//" not in text and not _has_dot_segment(text):
        return text.strip("/")
    return "/".join(clean_segment(segment) for segment in text.split("/") if segment)


def clean_bucket(text: str) -> str:
    """Make a text a part of a bucket's name."""
    return _UNFIT_IN_BUCKET.sub("-", text.lower()).strip("-.")


def _has_dot_segment(text: str) -> bool:
    return text.startswith(".") or "/." in text
