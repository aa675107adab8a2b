"""Rousing: after a resume, an approval or a cancel, a batch's owners go on, or get new runs."""

from sqlalchemy import ColumnElement, String, cast, exists, literal, or_, select, update

from ittybatch.ledger import identity, runs
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Run
from ittybatch.ledger.run_moves import Move, move, next_generation, wake
from ittybatch.ledger.states import BatchState, ChunkState


def rouse(transaction: Transaction, batch: str) -> None:
    """Have every owner of a batch that has something to do look at it at once.

    For a batch whose state somebody has just changed: its row is locked. What waits or works
    gets a reason to go on, what was suspended goes on, and what has ended is restarted.
    """
    of_batch = Run.batch_id == batch
    move(transaction, Move.UNSUSPEND, of_batch)
    wake(transaction, of_batch)
    transaction.execute(
        update(Run).where(of_batch, Run.retry_at.is_not(None)).values(failures=0, retry_at=None)
    )
    restart_runs(transaction, batch)


def restart_runs(transaction: Transaction, batch: str, *, only: str | None = None) -> list[str]:
    """Have new runs made for those of a batch that have ended and are needed.

    Args:
        transaction: The transaction to do it in.
        batch: The batch.
        only: Restart the run of this owner alone.

    Returns:
        The owners whose runs are to be made, the batch itself first.
    """
    released = exists().where(Chunk.batch_id == batch, Chunk.state == ChunkState.RELEASED.value)
    state = BatchState(
        transaction.execute(select(Batch.state).where(Batch.id == batch)).scalar_one()
    )
    needed: list[ColumnElement[bool]] = []
    if state is BatchState.CANCELLED:
        needed += [(Run.owner == identity.batch_owner(batch)) & released]
    # An unapproved one has somebody to ask: the run that asked before may have ended.
    if state in {BatchState.PLANNING, BatchState.UNAPPROVED, BatchState.RUNNING}:
        needed += [Run.owner == identity.batch_owner(batch)]
    if state is not BatchState.HELD:
        needed += [
            exists().where(
                Chunk.batch_id == batch,
                Chunk.state == ChunkState.RELEASED.value,
                Run.owner == literal("chunk:") + cast(Chunk.id, String),
            )
        ]
    move(
        transaction,
        Move.RESTART,
        Run.batch_id == batch,
        or_(literal(value=False), *needed),
        literal(value=True) if only is None else Run.owner == only,
        stumbles=0,
        **next_generation(transaction),
    )
    return [run.owner for run in runs.unmade_runs(transaction, batch)]
