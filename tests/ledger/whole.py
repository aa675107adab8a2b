"""What tests ask of a whole ledger, and no program does."""

from sqlalchemy import select

from ittybatch.ledger import Transaction
from ittybatch.ledger.models import Attempt, Batch, Chunk, Job
from ittybatch.ledger.states import BatchState


def accepted_attempts(transaction: Transaction, batch: str) -> dict[str, str | None]:
    """Every attempt of a batch that was sent: its Idempotency-Key, and Ittybit's id for it.

    An attempt that was withdrawn before it was sent has a higher number than its job's
    `attempt`, until the job reaches that number again. It is left out.
    """
    rows = transaction.rows(
        select(Attempt.idempotency_key, Attempt.task_id)
        .join(Job, Job.id == Attempt.job_id)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(Chunk.batch_id == batch, Attempt.number <= Job.attempt)
    )
    return {row.idempotency_key: row.task_id for row in rows}


def unfinished_batches(transaction: Transaction) -> list[str]:
    """Every batch that has not ended."""
    states = [state.value for state in BatchState if not state.ended]
    return [row.id for row in transaction.rows(select(Batch.id).where(Batch.state.in_(states)))]
