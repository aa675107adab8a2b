"""One object, as the answer to a HEAD request describes it."""

from collections.abc import Mapping
from typing import Any

from ittybatch.sources.entry import Entry, bare_etag


def entry_of_head(key: str, answer: Mapping[str, Any], *, versioned: bool) -> Entry:
    """Read boto3's answer to `head_object`; the identity is the one that a listing gives.

    Args:
        key: The object's key.
        answer: The answer.
        versioned: Whether the version id identifies an object, instead of its ETag.
    """
    version = answer.get("VersionId") if versioned else None
    return Entry(
        key,
        answer.get("ContentLength"),
        # Every object that was never versioned has the version id `null`.
        (version if version != "null" else None) or bare_etag(answer.get("ETag")),
        answer.get("LastModified"),
    )
