"""One object of a bucket, and how a number of them become a page."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from ittybatch.profiles import Item
from ittybatch.sources.page import Reject

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Entry(NamedTuple):
    """One object, as a store tells of it.

    Args:
        key: Its name in the bucket.
        size_bytes: Its size; None where it is not told.
        fingerprint: Its version or ETag; None where it is not told.
        modified_at: Aware UTC time of its last change; None where it is not told.
        archived: Whether it has to be restored before anybody can read it.
    """

    key: str
    size_bytes: int | None
    fingerprint: str | None
    modified_at: datetime | None
    archived: bool = False


UNSEEN_REASON = "has a name with a character that does not show; rename the object"

Found = tuple[list[Item], list[Reject], dict[str, int]]


def has_unseen(text: str) -> bool:
    """Whether a text holds a character that cannot be seen."""
    return _UNSEEN.search(text) is not None


class Rule(NamedTuple):
    """What leaves objects out.

    Args:
        name: Its name in `rules.RULES`.
        leaves_out: Whether it leaves out an object.
        hints: Texts, one of which each name has that it leaves out, in small letters, between
            line ends; none if it goes by something else than the name.
    """

    name: str
    leaves_out: Callable[[Entry], bool]
    hints: tuple[str, ...] = ()


def sort_entries(bucket: str, entries: Sequence[Entry], rules: Sequence[Rule]) -> Found:
    """Turn objects into items, rejects, and numbers of what each rule leaves out.

    Args:
        bucket: The bucket that holds them.
        entries: The objects.
        rules: What leaves an object out; the first that does is counted.
    """
    filtered: Counter[str] = Counter()
    kept: list[Entry] = list(entries)
    # One look at all names together spares almost every page a look at each of them.
    names = "\n".join(["", *[entry.key for entry in kept], ""])
    lowered = names.lower()
    for name, leaves_out, hints in rules:
        if hints and not any(hint in lowered for hint in hints):
            continue
        before = kept
        kept = [entry for entry in before if not leaves_out(entry)]
        if left_out := len(before) - len(kept):
            filtered[name] = left_out
    rejects: list[Reject] = []
    if has_unseen(names.replace("\n", "")) or names.count("\n") != len(entries) + 1:
        unseen = [entry.key for entry in kept if has_unseen(entry.key)]
        rejects = [
            Reject(None, "key", f"s3://{bucket}/{visible(key)} {UNSEEN_REASON}", visible(key)[:200])
            for key in unseen
        ]
        kept = [entry for entry in kept if not has_unseen(entry.key)]
    root = f"s3://{bucket}/"
    items = [Item(root + key, etag, size, time) for key, size, etag, time, _ in kept]
    return items, rejects, dict(filtered)


def visible(key: str) -> str:
    """Write a name so that every character of it shows, as an escape if it has to be."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in key
    )
