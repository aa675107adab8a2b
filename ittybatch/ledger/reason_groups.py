"""Jobs that ended badly, grouped by state and reason."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from ittybatch.ittybit.reasons import reason_of
from ittybatch.ledger.states import JobState

# Jobs to look at. More take too long for a page that is open all day.
WINDOW = 1000
# Jobs that stand for a group.
EXAMPLES = 3

T = TypeVar("T")


def by_reason(jobs: Iterable[T]) -> list[tuple[JobState, str, list[T]]]:
    """Group jobs by state and reason, the largest group first.

    Args:
        jobs: Jobs or rows with `state`, `error_kind` and `error_message`. Each group keeps their
            order.

    Returns:
        The state, the reason without numbers, ids, names and addresses, and the jobs.
    """
    groups: dict[tuple[JobState, str], list[T]] = {}
    for job in jobs:
        ended: Any = job
        key = (JobState(ended.state), reason_of(ended.error_kind, ended.error_message))
        groups.setdefault(key, []).append(job)
    found = [(state, reason, alike) for (state, reason), alike in groups.items()]
    return sorted(found, key=lambda each: len(each[2]), reverse=True)


def span(times: Sequence[datetime | None]) -> tuple[datetime | None, datetime | None]:
    """The first and the last of the known times; None without any."""
    known = [each for each in times if each is not None]
    return min(known, default=None), max(known, default=None)
