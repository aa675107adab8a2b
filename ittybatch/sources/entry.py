"""One object of a bucket, and how a number of them become a page."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from ittybatch.profiles import Item
from ittybatch.sources.page import Reject

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Entry(NamedTuple):
    """One object, as a store tells of it.

    Args:
        key: Its name in the bucket.
        size_bytes: Its size; None where it is not told.
        fingerprint: Its version or ETag; None where it is not told.
        modified_at: Aware UTC time of its last change; None where it is not told.
    """

    key: str
    size_bytes: int | None
    fingerprint: str | None
    modified_at: datetime | None


Found = tuple[list[Item], list[Reject], dict[str, int]]


def has_unseen(text: str) -> bool:
    """Whether a text holds a character that cannot be seen."""
    return _UNSEEN.search(text) is not None


def sort_entries(
    bucket: str,
    entries: Sequence[Entry],
    rules: Sequence[tuple[str, Callable[[Entry], bool]]],
) -> Found:
    """Turn objects into items, rejects, and numbers of what each rule leaves out.

    Args:
        bucket: The bucket that holds them.
        entries: The objects.
        rules: What leaves an object out, by name; the first that does is counted.
    """
    filtered: Counter[str] = Counter()
    kept: list[Entry] = list(entries)
    # Folders made in consoles are empty objects; nothing empty is media.
    if not all(entry.size_bytes != 0 for entry in entries):
        kept = [entry for entry in entries if entry.size_bytes != 0]
        filtered["empty"] = len(entries) - len(kept)
    for name, leaves_out in rules:
        before = kept
        kept = [entry for entry in before if not leaves_out(entry)]
        if left_out := len(before) - len(kept):
            filtered[name] = left_out
    rejects: list[Reject] = []
    # One look at all of them is enough for almost every page.
    if has_unseen("".join([entry.key for entry in kept])):
        unseen = [entry.key for entry in kept if has_unseen(entry.key)]
        reason = "holds a character that cannot be seen; rename the object"
        rejects = [Reject(None, "key", reason, repr(key)[:200]) for key in unseen]
        kept = [entry for entry in kept if not has_unseen(entry.key)]
    root = f"s3://{bucket}/"
    items = [Item(root + key, etag, size, time) for key, size, etag, time in kept]
    return items, rejects, dict(filtered)
