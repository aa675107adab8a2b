"""A batch's failures grouped by reason: the newest of them, because a batch may have millions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import exists, select, tuple_
from sqlalchemy.orm import aliased

from ittybatch.ittybit.reasons import reason_of
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Chunk, Item, Job
from ittybatch.ledger.states import JobState

# Failures to look at. More take too long for a page that is open all day.
WINDOW = 1000
_EXAMPLES = 3
_BAD = [JobState.FAILED.value, JobState.EXPIRED.value, JobState.CANCELLED.value]


@dataclass(frozen=True, slots=True)
class Example:
    """A failed job of a group."""

    job: int
    chunk: int
    item: int
    rendition: str
    uri: str


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures in one state and for one reason.

    Args:
        state: The state in which these jobs ended.
        reason: The reason, without numbers, ids, names and addresses.
        error_kind: Kind of the newest of these errors.
        error_message: Message of the newest of these errors.
        jobs: The number of jobs.
        left: How many of these jobs no later batch has taken up, by kind.
        first_at: When the first of them ended.
        last_at: When the last of them ended.
        examples: The newest of them.
    """

    state: JobState
    reason: str
    error_kind: str | None
    error_message: str | None
    jobs: int
    left: Mapping[str, int]
    first_at: datetime | None
    last_at: datetime | None
    examples: Sequence[Example]

    @property
    def to_retry(self) -> int:
        """The number of jobs that no later batch has taken up."""
        return sum(self.left.values())


@dataclass(frozen=True, slots=True)
class Failures:
    """The newest failures of a batch.

    Args:
        groups: By state and reason, the most frequent first.
        looked_at: The number of failures in these groups.
        total: The number of all failures of the batch.
        at: When they were read.
    """

    groups: Sequence[FailureGroup]
    looked_at: int
    total: int
    at: datetime

    @property
    def complete(self) -> bool:
        """Whether the groups have all failures of the batch."""
        return self.looked_at >= self.total


@dataclass(slots=True)
class _Collected:
    rows: list[Any] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)


def failure_groups(transaction: Transaction, batch: str, window: int = WINDOW) -> Failures:
    """A batch's newest failures by reason.

    Args:
        transaction: The transaction to look in.
        batch: The batch.
        window: The maximum number of failures to look at.
    """
    bad = Chunk.failed + Chunk.expired + Chunk.cancelled
    chunks = transaction.rows(
        select(Chunk.id, bad.label("bad"))
        .where(Chunk.batch_id == batch, bad > 0)
        .order_by(Chunk.number.desc())
    )
    newest: list[int] = []
    found = 0
    for chunk in chunks:
        if found >= window:
            break
        newest.append(chunk.id)
        found += chunk.bad
    rows = _failures(transaction, newest, window)
    collected: dict[tuple[str, str], _Collected] = {}
    for row in rows:
        key = (row.state, reason_of(row.error_kind, row.error_message))
        group = collected.setdefault(key, _Collected())
        group.rows.append(row)
        if not row.taken_up:
            group.left[row.kind] += 1
    shown = [row for group in collected.values() for row in group.rows[:_EXAMPLES]]
    uris = _uris(transaction, shown)
    groups = [
        _group(JobState(state), reason, group, uris) for (state, reason), group in collected.items()
    ]
    groups.sort(key=lambda each: each.jobs, reverse=True)
    total = max(sum(chunk.bad for chunk in chunks), len(rows))
    return Failures(groups, len(rows), total, transaction.now)


def _failures(transaction: Transaction, chunks: Sequence[int], window: int) -> list[Any]:
    later = aliased(Job)
    taken_up = exists().where(
        later.job_key == Job.job_key,
        later.id > Job.id,
        later.state != JobState.CANCELLED.value,
    )
    rows = transaction.rows(
        select(
            Job.id,
            Job.chunk_id,
            Job.item_number,
            Job.rendition,
            Job.kind,
            Job.state,
            Job.error_kind,
            Job.error_message,
            Job.completed_at,
            taken_up.label("taken_up"),
        )
        # Every ended job without success has a message; this condition is that of an index.
        .where(Job.chunk_id.in_(chunks), Job.error_message.is_not(None), Job.state.in_(_BAD))
        .order_by(Job.chunk_id.desc())
        .limit(window)
    )
    return sorted(rows, key=lambda row: (row.completed_at is not None, row.completed_at, row.id))[
        ::-1
    ]


def _group(
    state: JobState, reason: str, group: _Collected, uris: Mapping[tuple[int, int], str]
) -> FailureGroup:
    times = [row.completed_at for row in group.rows if row.completed_at is not None]
    return FailureGroup(
        state,
        reason,
        group.rows[0].error_kind,
        group.rows[0].error_message,
        len(group.rows),
        group.left,
        min(times, default=None),
        max(times, default=None),
        [
            Example(
                row.id,
                row.chunk_id,
                row.item_number,
                row.rendition,
                uris.get((row.chunk_id, row.item_number), ""),
            )
            for row in group.rows[:_EXAMPLES]
        ],
    )


def _uris(transaction: Transaction, rows: Sequence[Any]) -> dict[tuple[int, int], str]:
    wanted = sorted({(row.chunk_id, row.item_number) for row in rows})[: _EXAMPLES * 100]
    found = transaction.rows(
        select(Item.chunk_id, Item.number, Item.uri).where(
            tuple_(Item.chunk_id, Item.number).in_(wanted)
        )
    )
    return {(row.chunk_id, row.number): row.uri for row in found}
