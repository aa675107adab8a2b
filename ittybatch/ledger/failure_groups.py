"""A batch's failures grouped by reason: the newest of them, because a batch may have millions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import aliased

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Chunk, Item, Job
from ittybatch.ledger.reason_groups import EXAMPLES, WINDOW, by_reason, span
from ittybatch.ledger.states import JobState

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
        taken_by: The later batches that have taken up the others, the newest first.
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
    taken_by: Sequence[str]
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
    found_groups = by_reason(rows)
    shown = [row for _, _, alike in found_groups for row in alike[:EXAMPLES]]
    uris = _uris(transaction, shown)
    later = _batches(transaction, [row.taken_by for row in rows if row.taken_by])
    groups = [_group(*each, uris, later) for each in found_groups]
    total = max(sum(chunk.bad for chunk in chunks), len(rows))
    return Failures(groups, len(rows), total, transaction.now)


def _failures(transaction: Transaction, chunks: Sequence[int], window: int) -> list[Any]:
    later = aliased(Job)
    taken_by = (
        select(func.max(later.id))
        .where(
            later.job_key == Job.job_key,
            later.id > Job.id,
            later.state != JobState.CANCELLED.value,
        )
        .scalar_subquery()
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
            taken_by.label("taken_by"),
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
    state: JobState,
    reason: str,
    rows: Sequence[Any],
    uris: Mapping[tuple[int, int], str],
    later: Mapping[int, str],
) -> FailureGroup:
    first_at, last_at = span([row.completed_at for row in rows])
    return FailureGroup(
        state=state,
        reason=reason,
        error_kind=rows[0].error_kind,
        error_message=rows[0].error_message,
        jobs=len(rows),
        left=Counter(row.kind for row in rows if not row.taken_by),
        taken_by=sorted({later[row.taken_by] for row in rows if row.taken_by}, reverse=True),
        first_at=first_at,
        last_at=last_at,
        examples=[
            Example(
                row.id,
                row.chunk_id,
                row.item_number,
                row.rendition,
                uris.get((row.chunk_id, row.item_number), ""),
            )
            for row in rows[:EXAMPLES]
        ],
    )


def _batches(transaction: Transaction, jobs: Sequence[int]) -> dict[int, str]:
    """The batches of jobs, by job."""
    if not jobs:
        return {}
    query = select(Job.id, Chunk.batch_id).join(Chunk, Chunk.id == Job.chunk_id)
    return {row.id: row.batch_id for row in transaction.rows(query.where(Job.id.in_(jobs)))}


def _uris(transaction: Transaction, rows: Sequence[Any]) -> dict[tuple[int, int], str]:
    wanted = sorted({(row.chunk_id, row.item_number) for row in rows})[: EXAMPLES * 100]
    found = transaction.rows(
        select(Item.chunk_id, Item.number, Item.uri).where(
            tuple_(Item.chunk_id, Item.number).in_(wanted)
        )
    )
    return {(row.chunk_id, row.number): row.uri for row in found}
