"""Held jobs grouped by reason: the newest of them, because there may be millions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.quarantine import HeldFilter, HeldJob, find_held
from ittybatch.ledger.reason_groups import EXAMPLES, WINDOW, by_reason, span
from ittybatch.ledger.states import JobState


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """Held jobs in one state and for one reason.

    Args:
        state: The state in which these jobs ended.
        reason: The reason, without numbers, ids, names and addresses.
        error_kind: Kind of the newest of these errors.
        error_message: Message of the newest of these errors.
        kinds: The number of jobs by kind.
        batches: The number of batches that they are of.
        first_at: When the first of them ended.
        last_at: When the last of them ended.
        examples: The newest of them.
    """

    state: JobState
    reason: str
    error_kind: str | None
    error_message: str | None
    kinds: Counter[str]
    batches: int
    first_at: datetime | None
    last_at: datetime | None
    examples: Sequence[HeldJob]

    @property
    def jobs(self) -> int:
        """The number of jobs."""
        return self.kinds.total()


@dataclass(frozen=True, slots=True)
class HeldGroups:
    """The newest held jobs, by state and reason.

    Args:
        groups: The groups, the largest first.
        looked_at: The number of jobs in these groups.
        after: Chunk and id of the last of them, if there may be more.
    """

    groups: Sequence[HeldGroup]
    looked_at: int
    after: tuple[int, int] | None


def held_groups(
    transaction: Transaction,
    wanted: HeldFilter,
    *,
    after: tuple[int, int] | None = None,
    window: int = WINDOW,
) -> HeldGroups:
    """Group the newest held jobs by state and reason.

    Args:
        transaction: The transaction to look in.
        wanted: Which of them.
        after: Chunk and id of the last job of the window before.
        window: The maximum number of jobs to look at.
    """
    jobs = find_held(transaction, wanted, limit=window, after=after)
    groups = [_group(*each) for each in by_reason(jobs)]
    last = (jobs[-1].chunk_id, jobs[-1].id) if len(jobs) == window else None
    return HeldGroups(groups, len(jobs), last)


def _group(state: JobState, reason: str, jobs: Sequence[HeldJob]) -> HeldGroup:
    first_at, last_at = span([job.since for job in jobs])
    return HeldGroup(
        state=state,
        reason=reason,
        error_kind=jobs[0].error_kind,
        error_message=jobs[0].error_message,
        kinds=Counter(job.kind for job in jobs),
        batches=len({job.batch_id for job in jobs}),
        first_at=first_at,
        last_at=last_at,
        examples=jobs[:EXAMPLES],
    )
