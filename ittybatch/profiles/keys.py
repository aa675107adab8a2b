"""What the names of buckets and the keys of outputs may hold."""

import re

# What S3 ever allowed and boto3 accepts. AWS itself is stricter today, but us-east-1 has older
# buckets with capitals and underscores, and so have Google Cloud Storage and Ceph.
_BUCKET = re.compile(r"(?!\.+$)[A-Za-z0-9._-]{3,255}")
S3_OBJECT = re.compile(r"s3://(?!\.+/)[A-Za-z0-9._-]{3,255}/.*[^/]")

# Control characters, line separators and bidirectional overrides hide what a key says;
# a backslash is a separator to Windows tools; a lone surrogate has no UTF-8.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\\\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_UNSAFE_IN_BUCKET = re.compile(r"[^a-z0-9.-]+")


def is_bucket_name(name: str) -> bool:
    """Say whether S3 clients accept a bucket of this name."""
    return _BUCKET.fullmatch(name) is not None


def has_unsafe_characters(text: str) -> bool:
    """Say whether a text holds a character that no destination may hold."""
    return _UNSAFE.search(text) is not None


def clean_segment(text: str) -> str:
    """Make a text one segment of a key: no slash, no invisible character, never `.` or `..`."""
    cleaned = _UNSAFE.sub("_", text).replace("/", "_")
    return "_" * len(cleaned) if cleaned in {".", ".."} else cleaned


def clean_path(text: str) -> str:
    """Make a text a relative path: clean each segment, drop empty ones."""
    if not _UNSAFE.search(text) and "//" not in text and not _has_dot_segment(text):
        return text.strip("/")
    return "/".join(clean_segment(segment) for segment in text.split("/") if segment)


def clean_bucket(text: str) -> str:
    """Make a text a part of a bucket's name."""
    return _UNSAFE_IN_BUCKET.sub("-", text.lower()).strip("-.")


def _has_dot_segment(text: str) -> bool:
    return text.startswith(".") or "/." in text
