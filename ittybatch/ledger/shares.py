"""Shares: the jobs of chunks that are done, counted by rendition and by minute.

A batch may have millions of jobs, so a page cannot count them each time. A chunk's jobs are counted
in the transaction that finishes the chunk; webhooks never pay for it.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Label,
    and_,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
    type_coerce,
)

from ittybatch.ledger.counters import attempts_of
from ittybatch.ledger.database import Ledger, Transaction
from ittybatch.ledger.models import (
    Batch,
    Chunk,
    ChunkMinute,
    ChunkShare,
    ChunkTotals,
    Job,
    UtcDateTime,
)
from ittybatch.ledger.states import OPEN_JOBS, BatchState, ChunkState, JobState

ENDED = ("succeeded", "failed", "cancelled", "expired")
_COUNTS = ("sent", *ENDED)
_NEWEST_BATCHES = 20
_CHUNKS_AT_ONCE = 100

# Whether the shares of a chunk still hold.
HOLD = and_(
    ChunkTotals.chunk_id == Chunk.id,
    *(getattr(ChunkTotals, name) == getattr(Chunk, name) for name in _COUNTS),
)


def count_shares(transaction: Transaction, chunks: Sequence[int]) -> None:
    """Count the jobs of chunks that are done, by rendition and by minute.

    Args:
        transaction: The transaction to do it in; it holds the locks of the chunks.
        chunks: Ids of the chunks.
    """
    if not chunks:
        return
    for table in (ChunkTotals, ChunkShare):
        transaction.execute(delete(table).where(table.chunk_id.in_(chunks)))
    totals = select(Chunk.id, *(getattr(Chunk, name) for name in _COUNTS))
    transaction.execute(
        insert(ChunkTotals).from_select(["chunk_id", *_COUNTS], totals.where(Chunk.id.in_(chunks)))
    )
    by_rendition = (
        select(
            Job.chunk_id,
            Job.rendition,
            Job.kind,
            func.sum(attempts_of(Job)),
            *(_sum(Job.state == name) for name in ENDED),
        )
        .where(Job.chunk_id.in_(chunks))
        .group_by(Job.chunk_id, Job.rendition, Job.kind)
    )
    transaction.execute(
        insert(ChunkShare).from_select(["chunk_id", "rendition", "kind", *_COUNTS], by_rendition)
    )
    minute = minute_of(transaction)
    by_minute = (
        select(minute, Job.chunk_id, *minute_sums())
        .where(Job.chunk_id.in_(chunks), ended_by_itself())
        .group_by(minute.element, Job.chunk_id)
    )
    # A late success is counted in its rendition, and keeps the minute in which it was given up.
    transaction.execute(
        transaction.insert_new(ChunkMinute).from_select(
            ["minute", "chunk_id", "succeeded", "other"], by_minute
        )
    )


def count_changed_shares(ledger: Ledger) -> int:
    """Count the jobs of chunks again that changed after they were done, in the newest batches.

    Returns:
        How many chunks were counted.
    """
    chunks = ledger.read(_changed)
    for start in range(0, len(chunks), _CHUNKS_AT_ONCE):
        ledger.write(_count_again, chunks[start : start + _CHUNKS_AT_ONCE])
    return len(chunks)


def minute_of(transaction: Transaction) -> Label[datetime]:
    """The minute in which a job ended, as the database stores times."""
    if transaction.postgres:
        minute = func.date_trunc(literal_column("'minute'"), Job.completed_at)
    else:
        minute = func.strftime(literal_column("'%Y-%m-%d %H:%M:00.000000'"), Job.completed_at)
    return type_coerce(minute, UtcDateTime).label("minute")


def minute_sums() -> list[ColumnElement[int]]:
    """Jobs that succeeded, and jobs that ended in another way."""
    succeeded = Job.state == JobState.SUCCEEDED.value
    return [_sum(succeeded).label("succeeded"), _sum(~succeeded).label("other")]


def ended_by_itself() -> ColumnElement[bool]:
    """Whether a job was sent and has ended. Cancelling a batch ends its unsent jobs at once."""
    return and_(
        Job.completed_at.is_not(None),
        Job.state.not_in([state.value for state in sorted(OPEN_JOBS)]),
        attempts_of(Job) > 0,
    )


def _sum(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _changed(transaction: Transaction) -> list[int]:
    """Chunks that are done and whose shares do not hold, of open batches and of the newest."""
    newest = select(Batch.id).order_by(Batch.id.desc()).limit(_NEWEST_BATCHES).subquery()
    open_states = [state.value for state in BatchState if not state.ended]
    batches = select(Batch.id).where(Batch.state.in_(open_states)).union(select(newest.c.id))
    rows = transaction.rows(
        select(Chunk.id)
        .outerjoin(ChunkTotals, HOLD)
        .where(
            Chunk.batch_id.in_(batches),
            Chunk.state == ChunkState.DONE.value,
            ChunkTotals.chunk_id.is_(None),
        )
        .order_by(Chunk.id)
    )
    return [row.id for row in rows]


def _count_again(transaction: Transaction, chunks: Sequence[int]) -> None:
    transaction.execute(
        select(Chunk.id).where(Chunk.id.in_(chunks)).order_by(Chunk.id).with_for_update()
    )
    count_shares(transaction, chunks)
