"""Why a plan leaves out jobs: each count's name, and its words wherever it is reported.

What filters leave out is described with the sources. A chunk's leg imports this module, so it
imports nothing large.
"""

from collections.abc import Iterator, Mapping

# To be read after "jobs".
NOT_SUBMITTED: Mapping[str, str] = {
    "already_done": "done before",
    "already_there": "with an output at their destination already",
    "in_flight_elsewhere": "in flight in another batch",
    "held_back": "held back: they failed for good, or were given up",
    "same_destination": "refused: their destination belongs to another item",
    "duplicates": "named twice by the source",
}


def not_submitted(counts: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """Give the jobs that a plan leaves out: how many, and why in words that follow "jobs"."""
    for name, why in NOT_SUBMITTED.items():
        if count := counts.get(name):
            yield count, why
