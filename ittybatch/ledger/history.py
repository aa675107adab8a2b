"""What the ledger remembers of jobs that have ended, for estimates of those to come."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, or_, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Attempt, Chunk, Job
from ittybatch.ledger.states import AttemptState, ChunkState, JobState

_NEWEST = 2000
_NEWEST_CHUNKS = 8


@dataclass(frozen=True, slots=True)
class Experience:
    """How long jobs of a kind took, from their submission to their end.

    Args:
        jobs: How many are remembered.
        mean_s: Seconds, on average.
    """

    jobs: int
    mean_s: float


def experience(transaction: Transaction) -> Mapping[str, Experience]:
    """How long successful jobs of the newest chunks took, by kind."""
    chunks = transaction.rows(
        select(Chunk.id).where(Chunk.succeeded > 0).order_by(Chunk.id.desc()).limit(_NEWEST_CHUNKS)
    )
    newest = (
        select(Job.id, Job.kind)
        .where(Job.chunk_id.in_([row.id for row in chunks]), Job.state == JobState.SUCCEEDED.value)
        .order_by(Job.id.desc())
        # Before the join, so that attempts are looked up and not read through.
        .limit(_NEWEST)
        .subquery("newest")
    )
    rows = transaction.rows(
        select(newest.c.kind, Attempt.sent_at, Attempt.completed_at)
        .join(newest, newest.c.id == Attempt.job_id)
        .where(Attempt.completed_at.is_not(None), Attempt.state == AttemptState.SUCCEEDED.value)
    )
    taken: dict[str, list[float]] = {}
    for row in rows:
        took_s = (row.completed_at - row.sent_at).total_seconds()
        taken.setdefault(row.kind, []).append(max(0.0, took_s))
    return {kind: Experience(len(each), sum(each) / len(each)) for kind, each in taken.items()}


def ended_per_minute(transaction: Transaction, batch: str, over_s: float = 600) -> float | None:
    """Attempts of a batch that ended a minute, lately; None where none did.

    Args:
        transaction: The transaction to look in.
        batch: The batch.
        over_s: Seconds to look back, at most.
    """
    since = transaction.now - timedelta(seconds=over_s)
    row = transaction.execute(
        select(func.count().label("ended"), func.min(Attempt.completed_at).label("first"))
        .join(Job, Job.id == Attempt.job_id)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(
            Chunk.batch_id == batch,
            or_(Chunk.state == ChunkState.RELEASED.value, Chunk.ended_at >= since),
            Attempt.completed_at >= since,
        )
    ).one()
    if not row.ended:
        return None
    # A batch that began a minute ago has not had ten.
    minutes = max((transaction.now - row.first).total_seconds(), 1.0) / 60
    return float(row.ended / minutes)
