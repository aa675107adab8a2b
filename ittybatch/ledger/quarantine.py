"""Quarantine: jobs held back because nothing short of a change would let them succeed.

A job that failed for good, or that was given up without an answer, keeps its claim: no batch
makes it again until its source or options change, or an operator releases it.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, select, true, update

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Chunk, Item, Job
from ittybatch.ledger.states import JobState

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
    """Jobs that are held back, the newest first.

    Args:
        transaction: The transaction to look in.
        batch: Only of this batch.
        input_prefix: Only of items whose URI begins with this.
        limit: At most so many.
    """
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
        .where(
            Job.state.in_(_HELD),
            Job.claim.is_not(None),
            true() if batch is None else Chunk.batch_id == batch,
            Item.uri.startswith(input_prefix or "", autoescape=True),
        )
        .order_by(Job.id.desc())
        .limit(limit)
    )
    return [HeldJob(**{**row._asdict(), "state": JobState(row.state)}) for row in rows]


def release(
    transaction: Transaction, *, batch: str | None = None, input_prefix: str | None = None
) -> int:
    """Let held jobs be made by the next batch that finds their items.

    Returns:
        How many were released.
    """
    released = 0
    while held := held_jobs(transaction, batch=batch, input_prefix=input_prefix):
        transaction.execute(
            update(Job)
            .where(Job.id.in_([job.id for job in held]), Job.state.in_(_HELD))
            .values(claim=None)
        )
        released += len(held)
    return released
