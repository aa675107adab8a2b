"""Declarations of `intake.yaml` that contradict each other."""

from collections.abc import Iterator, Sequence

from ittybatch.intake.rules import BucketDeclared, TableDeclared
from ittybatch.sources.sqs import same_queue
from ittybatch.yaml_files import Location

Clashes = Iterator[tuple[Location, str]]
# The URLs of a queue and of its dead-letter queue.
Queue = tuple[str, str | None]


def clashes_of(
    buckets: Sequence[BucketDeclared], tables: Sequence[TableDeclared], queues: Sequence[Queue]
) -> Clashes:
    """Find declarations that contradict each other.

    Yields:
        The location of the later one, and the problem with its remedy.
    """
    yield from _overlapping(buckets)
    yield from _same_tables(tables)
    yield from _looping(queues)
    if queues and not buckets:
        yield (
            ("queues",),
            (
                "every message would stay in its queue, because `buckets` declares no folder; "
                "add the folder whose events these are"
            ),
        )


def processed_twice(
    buckets: Sequence[BucketDeclared], bucket: str, prefix: str, profile: str, *, versioned: bool
) -> Clashes:
    """Find folders whose events would make jobs of an upload that it has already, or others.

    Args:
        buckets: The declared folders.
        bucket: The bucket of uploads.
        prefix: Their folder.
        profile: Their profile.
        versioned: Whether their version identifies them.
    """
    for place, each in enumerate(buckets):
        nested = prefix.startswith(each.prefix) or each.prefix.startswith(prefix)
        if bucket != each.bucket or not nested:
            continue
        what = (
            "an upload would be processed twice, because its event belongs to "
            f"buckets[{place}] ({each.uri})"
        )
        if each.profile != profile:
            yield ("uploads", "profile"), f"{what}; use the same profile or another folder"
        if each.versioned != versioned:
            yield ("uploads", "versioned"), f"{what}; use the same `versioned` for both"


def _overlapping(buckets: Sequence[BucketDeclared]) -> Clashes:
    for place, one in enumerate(buckets):
        for earlier, other in enumerate(buckets[:place]):
            if one.overlaps(other):
                yield (
                    ("buckets", place),
                    (
                        f"an object may belong to this and to buckets[{earlier}] ({other.uri}), "
                        "and would be processed twice; give them other folders or suffixes, or "
                        "put all renditions into one profile"
                    ),
                )


def _same_tables(tables: Sequence[TableDeclared]) -> Clashes:
    seen: set[tuple[str, str]] = set()
    for place, each in enumerate(tables):
        name = (each.schema_name, each.table)
        if name in seen:
            yield ("tables", place, "table"), f"{'.'.join(name)} is declared twice; keep one"
        seen.add(name)


def _looping(queues: Sequence[Queue]) -> Clashes:
    for place, (url, aside) in enumerate(queues):
        if any(same_queue(url, other) for other, _ in queues[:place]):
            yield ("queues", place, "queue_url"), "is declared twice; keep one"
        if aside and any(same_queue(aside, other) for other, _ in queues):
            yield (
                ("queues", place, "dead_letter_url"),
                "is a watched queue, which would receive the messages again; use another queue",
            )
