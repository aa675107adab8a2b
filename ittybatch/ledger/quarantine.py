"""Quarantine: jobs that are held back because they would fail again without a change.

A job that failed permanently, or was given up without an answer, keeps its claim: no batch
makes it again until its source or options change, or an operator releases it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, select, update

from ittybatch.ledger.database import Ledger, Transaction
from ittybatch.ledger.models import Chunk, Item, Job
from ittybatch.ledger.states import JobState

# A chunk has a few thousand jobs at most, and `release` locks the jobs that it changes.
_CHUNKS_AT_ONCE = 10
_ROWS_AT_ONCE = 1000
_HELD = (JobState.FAILED.value, JobState.EXPIRED.value, JobState.CANCELLED.value)


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job that is held back, and why."""

    id: int
    batch_id: str
    input: str
    rendition: str
    state: JobState
    error_kind: str | None
    error_message: str | None
    since: datetime | None


def held_jobs(
    transaction: Transaction,
    *,
    batch: str | None = None,
    input_prefix: str | None = None,
    limit: int = 1000,
) -> list[HeldJob]:
    """Jobs that are held back, those of the newest chunks first.

    Args:
        transaction: The transaction to look in.
        batch: Only of this batch.
        input_prefix: Only of items whose URI begins with this.
        limit: The maximum number.
    """
    found: list[HeldJob] = []
    before: int | None = None
    while len(found) < limit and (chunks := _next_chunks(transaction, batch, before)):
        found += _held_in(transaction, chunks, input_prefix, limit - len(found))
        before = chunks[-1]
    return found


def release(ledger: Ledger, *, batch: str | None = None, input_prefix: str | None = None) -> int:
    """Release held jobs, a few chunks at a time: the next batch with their items makes them.

    Returns:
        How many were released.
    """
    released = 0
    before: int | None = None
    while chunks := ledger.read(_next_chunks, batch, before):
        released += ledger.write(_release_in, chunks, input_prefix)
        before = chunks[-1]
    return released


def _next_chunks(transaction: Transaction, batch: str | None, before: int | None) -> list[int]:
    """The newest chunks below `before` that have jobs that ended without success."""
    query = (
        select(Chunk.id)
        .where(Chunk.failed + Chunk.expired + Chunk.cancelled > 0)
        .order_by(Chunk.id.desc())
        .limit(_CHUNKS_AT_ONCE)
    )
    if batch is not None:
        query = query.where(Chunk.batch_id == batch)
    if before is not None:
        query = query.where(Chunk.id < before)
    return [row.id for row in transaction.rows(query)]


def _held_in(
    transaction: Transaction, chunks: Sequence[int], input_prefix: str | None, limit: int
) -> list[HeldJob]:
    rows = transaction.rows(
        select(
            Job.id,
            Chunk.batch_id,
            Item.uri.label("input"),
            Job.rendition,
            Job.state,
            Job.error_kind,
            Job.error_message,
            Job.completed_at.label("since"),
        )
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(*_held(chunks, input_prefix))
        .order_by(Job.chunk_id.desc(), Job.id.desc())
        .limit(limit)
    )
    return [HeldJob(**{**row._asdict(), "state": JobState(row.state)}) for row in rows]


def _release_in(transaction: Transaction, chunks: Sequence[int], input_prefix: str | None) -> int:
    rows = transaction.rows(
        select(Job.id)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(*_held(chunks, input_prefix))
        .order_by(Job.id)
        .with_for_update(of=Job)
    )
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = [row.id for row in rows[start : start + _ROWS_AT_ONCE]]
        transaction.execute(update(Job).where(Job.id.in_(part)).values(claim=None))
    return len(rows)


def _held(chunks: Sequence[int], input_prefix: str | None) -> list[ColumnElement[bool]]:
    return [
        Job.chunk_id.in_(chunks),
        Job.state.in_(_HELD),
        Job.claim.is_not(None),
        Item.uri.startswith(input_prefix or "", autoescape=True),
    ]
