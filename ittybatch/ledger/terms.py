"""Terms: whether a chunk's jobs may be sent now, and how fast."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.identity import owned_chunk
from ittybatch.ledger.models import Batch, Chunk, Job, Run
from ittybatch.ledger.states import BatchState, JobState, RunState

_UNSENT = [JobState.PLANNED.value, JobState.SUBMITTING.value]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a chunk may send.

    Args:
        sending: Whether anything new is to be sent: its batch is neither held nor ended.
        rate_per_s: The chunk's share of the submissions a second that its batch may make, or
            None where there is no limit.
        cancelled_at: When its batch was cancelled; None where it was not.
    """

    sending: bool
    rate_per_s: float | None
    cancelled_at: datetime | None


def terms_of(transaction: Transaction, chunk: int) -> Terms:
    """Look what a chunk may send now; people hold and tune batches while they are under way."""
    batch = transaction.execute(
        select(Batch.id, Batch.state, Batch.ended_at, Batch.options)
        .join(Chunk, Chunk.batch_id == Batch.id)
        .where(Chunk.id == chunk)
    ).one()
    rate_per_s = batch.options.get("submit_per_s")
    return Terms(
        sending=batch.state == BatchState.RUNNING,
        rate_per_s=rate_per_s and rate_per_s / len({chunk, *_sharing(transaction, batch.id)}),
        cancelled_at=batch.ended_at if batch.state == BatchState.CANCELLED else None,
    )


def _sharing(transaction: Transaction, batch: str) -> list[int]:
    """The chunks of a batch that have something to send, and somebody who does so."""
    awake = transaction.rows(
        select(Run.owner).where(Run.batch_id == batch, Run.state == RunState.AWAKE.value)
    )
    chunks = [chunk for row in awake if (chunk := owned_chunk(row.owner)) is not None]
    unsent = exists().where(Job.chunk_id == Chunk.id, Job.state.in_(_UNSENT))
    rows = transaction.rows(select(Chunk.id).where(Chunk.id.in_(chunks), unsent))
    return [row.id for row in rows]
