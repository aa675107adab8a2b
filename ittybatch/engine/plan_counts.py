"""Labels for the counts of a plan.

The labels of filters are in `sources`. The legs of chunks import this module, so it must not import
anything large.
"""

from collections.abc import Iterator, Mapping

from ittybatch.sources.rules import describe_rule, left_out_by_rule

# These labels follow the word "jobs".
NOT_SUBMITTED: Mapping[str, str] = {
    "already_done": "done before",
    "already_there": "with an output at their destination already",
    "in_flight_elsewhere": "in flight in another batch",
    "held_back": "held back: they failed for good, or were given up",
    "same_destination": "refused: their destination belongs to another item",
    "duplicates": "named twice by the source",
}
PLANNED: Mapping[str, str] = {
    "found": "items found",
    "items": "items with something to do",
    "jobs": "jobs to submit",
}
LEFT_OUT: Mapping[str, str] = {
    **{name: f"jobs {why}" for name, why in NOT_SUBMITTED.items()},
    "skipped": "renditions that a condition excludes",
    "without_rendition": "items that no rendition wants",
    "rejected": "rows and items that could not be used",
}


def not_submitted(counts: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """Yield the jobs that a plan leaves out: number, and reason as a phrase after "jobs"."""
    for name, why in NOT_SUBMITTED.items():
        if count := counts.get(name):
            yield count, why


def left_out(counts: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """Yield everything that a plan leaves out: the number, and what and why."""
    for name, what in LEFT_OUT.items():
        if count := counts.get(name):
            yield count, what
    for name, count in left_out_by_rule(counts).items():
        yield count, f"left out by {name}: {describe_rule(name)}"


def describe_counts(counts: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """Yield a plan's counts with labels: found, planned, by rendition, left out."""
    for name, what in PLANNED.items():
        yield counts.get(name, 0), what
    for name, count in sorted(counts.items()):
        if name.startswith("rendition:"):
            yield count, f"jobs of rendition {name.removeprefix('rendition:')}"
    yield from left_out(counts)
