"""Allowance: how many new jobs of a batch its receiver may send at once.

What it may not send stays planned, and a leg of its chunk sends it when that is allowed.
"""

from datetime import timedelta

from sqlalchemy import exists, func, select

from ittybatch.ledger.accepting import Accepting
from ittybatch.ledger.brakes import submissions_left
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Attempt, Chunk, Job, Run
from ittybatch.ledger.states import BatchState, ChunkState, JobState, RunState

_SHORTEST_WINDOW_S = 1.0


def allowance(transaction: Transaction, batch: Accepting, wanted: int) -> int:
    """How many of these jobs may be sent now.

    None while the batch is held or its circuit is open; no more than its ceiling leaves; and with
    a rate limit, no more than the limit allows within a second, nothing while legs send.

    Args:
        transaction: The transaction to look in.
        batch: The batch, locked.
        wanted: How many jobs there are.
    """
    if batch.state is not BatchState.RUNNING or batch.trips:
        return 0
    left = submissions_left(transaction, batch.id, batch.options)
    if left is not None:
        wanted = min(wanted, left)
    rate_per_s = batch.options.get("submit_per_s")
    if rate_per_s:
        wanted = min(wanted, _within_rate(transaction, batch.id, float(rate_per_s)))
    return wanted


def _within_rate(transaction: Transaction, batch: str, rate_per_s: float) -> int:
    """How many submissions a rate limit allows now.

    Every receiver counts in the ledger, so that several receivers share the limit. A leg with
    unsent jobs keeps to the whole limit by itself.
    """
    of_batch = select(Chunk.id).where(
        Chunk.batch_id == batch, Chunk.state == ChunkState.RELEASED.value
    )
    unsent = exists().where(
        Job.chunk_id.in_(of_batch), Job.state == JobState.PLANNED.value, Job.not_before.is_(None)
    )
    awake = exists().where(
        Run.batch_id == batch, Run.state == RunState.AWAKE.value, Run.owner.startswith("chunk:")
    )
    if transaction.execute(select(unsent | awake)).scalar_one():
        return 0
    window_s = max(_SHORTEST_WINDOW_S, 1 / rate_per_s)
    since = transaction.now - timedelta(seconds=window_s)
    sent = (
        select(func.count())
        .select_from(Attempt)
        .join(Job, Job.id == Attempt.job_id)
        .where(Job.chunk_id.in_(of_batch), Attempt.sent_at > since)
    )
    return max(0, int(rate_per_s * window_s) - int(transaction.execute(sent).scalar_one()))
