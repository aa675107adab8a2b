"""Chunks: released to flow runs, and marked done."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, update

from ittybatch.errors import IttybatchError
from ittybatch.ledger import identity, runs
from ittybatch.ledger.accepting import stop_accepting
from ittybatch.ledger.brakes import check_canary
from ittybatch.ledger.capacity import capacity_for, wake_next
from ittybatch.ledger.control import cancel_chunk
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Run
from ittybatch.ledger.notices import notify_chunk_done
from ittybatch.ledger.run_moves import Move, move, new_run, wake
from ittybatch.ledger.shares import count_shares
from ittybatch.ledger.states import BatchState, ChunkState, RunState

# Chunks to release until the canary, the first chunk, has passed.
_CANARY_CHUNKS = 1
# A batch that can only report its progress is woken this much later.
_PROGRESS_DELAY_S = 20.0


class UnknownChunk(IttybatchError):
    """No chunk in the ledger has this number."""


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """A chunk, and its place in its batch."""

    id: int
    batch_id: str
    number: int
    of: int
    state: ChunkState
    items: int
    sent: int
    retried: int
    planned: int
    in_flight: int
    succeeded: int
    failed: int
    cancelled: int
    expired: int


def chunk_of(transaction: Transaction, chunk: int) -> ChunkPlace:
    """Read a chunk.

    Raises:
        UnknownChunk: when no chunk has this number.
    """
    rows = transaction.rows(select(*Chunk.__table__.columns).where(Chunk.id == chunk))
    if not rows:
        raise UnknownChunk(
            f"There is no chunk {chunk} in the ledger.",
            remedy="run-batch creates chunks; start it, or use the ledger that it used.",
        )
    row = rows[0]
    of = transaction.execute(
        select(func.count()).where(Chunk.batch_id == row.batch_id)
    ).scalar_one()
    values = row._asdict()
    del values["ended_at"], values["planned_at"], values["growing"]
    return ChunkPlace(**{**values, "state": ChunkState(row.state), "of": of})


def release_chunks(
    transaction: Transaction, batch: str, max_active: int, max_in_flight: int | None = None
) -> list[str]:
    """Release as many chunks as capacity allows, in order.

    A batch of requests whose day is over stops accepting them here.

    Args:
        transaction: The transaction to do it in.
        batch: The batch.
        max_active: Chunks of this batch at the same time.
        max_in_flight: Jobs of all batches at the same time, or None for no limit.

    Returns:
        The owners that need a new flow run: chunks just released, and earlier owners whose
        flow run was never created.
    """
    locked = transaction.execute(
        select(Batch.state, Batch.options, Batch.accepts_until)
        .where(Batch.id == batch)
        .with_for_update()
    ).one()
    if locked.state != BatchState.RUNNING:
        return []
    if locked.accepts_until is not None and locked.accepts_until <= transaction.now:
        stop_accepting(transaction, batch)
    if not check_canary(transaction, batch, locked.options):
        max_active = _CANARY_CHUNKS
    active = transaction.execute(
        select(func.count()).where(
            Chunk.batch_id == batch, Chunk.state == ChunkState.RELEASED.value
        )
    ).scalar_one()
    chunks = transaction.rows(
        select(Chunk.id, Chunk.planned)
        .join(Batch, Batch.id == Chunk.batch_id)
        .where(
            Chunk.batch_id == batch,
            Chunk.state == ChunkState.PLANNED.value,
            Batch.state == BatchState.RUNNING.value,
        )
        .order_by(Chunk.number)
        .limit(max(0, max_active - active))
    )
    if max_in_flight is not None:
        fitting = capacity_for(
            transaction, batch, [chunk.planned for chunk in chunks], max_in_flight
        )
        chunks = chunks[:fitting]
    for chunk in chunks:
        transaction.execute(
            update(Chunk).where(Chunk.id == chunk.id).values(state=ChunkState.RELEASED.value)
        )
        new_run(transaction, identity.chunk_owner(chunk.id), batch, RunState.STARTING)
    return [run.owner for run in runs.unmade_runs(transaction, batch)]


def released_chunks(transaction: Transaction, batch: str) -> list[int]:
    """A batch's chunks that are released and not done, in their order."""
    rows = transaction.rows(
        select(Chunk.id)
        .where(Chunk.batch_id == batch, Chunk.state == ChunkState.RELEASED.value)
        .order_by(Chunk.number)
    )
    return [row.id for row in rows]


def finish_chunk(transaction: Transaction, chunk: int) -> bool:
    """Mark a chunk done if its jobs have all ended, and wake its batch.

    If the batch was cancelled, jobs that are still planned are cancelled first, also while others
    are at Ittybit: a chunk with planned jobs would be woken each second until those have ended.

    Returns:
        Whether it is done.
    """
    _cancel_with_batch(transaction, chunk)
    row = transaction.execute(
        select(Chunk.batch_id, Chunk.state, Chunk.growing, Chunk.planned, Chunk.in_flight)
        .where(Chunk.id == chunk)
        .with_for_update()
    ).one()
    if row.growing or row.in_flight or row.planned:
        return False
    if row.state != ChunkState.DONE:
        transaction.execute(
            update(Chunk)
            .where(Chunk.id == chunk)
            .values(state=ChunkState.DONE.value, ended_at=transaction.now)
        )
        count_shares(transaction, [chunk])
        notify_chunk_done(transaction, chunk)
    move(transaction, Move.END, Run.owner == identity.chunk_owner(chunk), wake_at=None)
    _notify_batch(transaction, row.batch_id)
    wake_next(transaction)
    return True


def _notify_batch(transaction: Transaction, batch: str) -> None:
    """Wake a batch after one of its chunks is done: now, or later if it can only report progress.

    Each leg of a batch starts a process, so a leg that only reports progress can wait. Two chunks
    that end at the same time may each see the other as open; then the batch is woken later.
    """
    states = transaction.rows(
        select(Chunk.state)
        .where(Chunk.batch_id == batch, Chunk.state != ChunkState.DONE.value)
        .distinct()
    )
    only_progress = [row.state for row in states] == [ChunkState.RELEASED.value]
    at = transaction.now + timedelta(seconds=_PROGRESS_DELAY_S if only_progress else 0)
    wake(transaction, Run.owner == identity.batch_owner(batch), at=at)


def _cancel_with_batch(transaction: Transaction, chunk: int) -> None:
    """Cancel a chunk's planned jobs if its batch was cancelled.

    A retryable failure or a refused submission can put a job back to planned after that.
    """
    cancelled = transaction.rows(
        select(Batch.reason)
        .join(Chunk, Chunk.batch_id == Batch.id)
        .where(Chunk.id == chunk, Chunk.planned > 0, Batch.state == BatchState.CANCELLED.value)
    )
    if cancelled:
        cancel_chunk(transaction, chunk, cancelled[0].reason or "Its batch was cancelled.")
