"""Capacity: a limit on the jobs in flight of all batches together, and which batch goes first."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import case, func, select, update

from ittybatch.ledger import identity
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Run
from ittybatch.ledger.run_moves import wake
from ittybatch.ledger.states import BatchState, ChunkState

_RANKS = {"high": 0, "normal": 1, "low": 2}


def capacity_for(
    transaction: Transaction, batch: str, sizes: Sequence[int], max_in_flight: int
) -> int:
    """How many of a batch's next chunks may be released now.

    0 while a batch of higher priority waits for capacity. A chunk that is larger than the limit
    is released when nothing else is in flight. An advisory lock is held until the transaction
    ends, so two batches cannot both take the last capacity.

    Args:
        transaction: The transaction to look in.
        batch: The batch.
        sizes: Number of jobs of each chunk that the batch would release, in order.
        max_in_flight: How many jobs of all batches may be released and not ended. Jobs that
            will not be sent do not count.
    """
    transaction.serialise("room")
    waiting = [other for other in _waiting_batches(transaction) if other.id != batch]
    options = transaction.execute(select(Batch.options).where(Batch.id == batch)).scalar_one()
    outranked = any(_rank(other.options) < _rank(options) for other in waiting)
    taken = _taken(transaction)
    fitting = 0
    for size in sizes:
        if outranked or (taken and taken + size > max_in_flight):
            break
        taken += size
        fitting += 1
    wants = fitting < len(sizes)
    transaction.execute(
        update(Batch).where(Batch.id == batch, Batch.wants_room != wants).values(wants_room=wants)
    )
    if not wants and taken < max_in_flight:
        wake_next(transaction)
    return fitting


def _taken(transaction: Transaction) -> int:
    """Jobs of released chunks that Ittybit has, or will get unless their batch is stopped.

    A batch that is held or cancelled sends nothing more. Once resumed, its released chunks count
    again, and other chunks wait until all fit under the limit. A batch whose circuit is open
    keeps its capacity: it retries within minutes.
    """
    to_send = case((Batch.state == BatchState.RUNNING.value, Chunk.planned), else_=0)
    found = transaction.execute(
        select(func.coalesce(func.sum(to_send + Chunk.in_flight), 0))
        .join(Batch, Batch.id == Chunk.batch_id)
        .where(Chunk.state == ChunkState.RELEASED.value)
    ).scalar_one()
    return int(found)


def wake_next(transaction: Transaction) -> None:
    """Wake the batch that may use freed capacity next."""
    waiting = _waiting_batches(transaction)
    if waiting:
        first = min(waiting, key=lambda row: (_rank(row.options), row.created_at, row.id))
        wake(transaction, Run.owner == identity.batch_owner(first.id))


def _waiting_batches(transaction: Transaction) -> Sequence[Any]:
    return transaction.rows(
        select(Batch.id, Batch.options, Batch.created_at).where(
            Batch.state == BatchState.RUNNING.value, Batch.wants_room.is_(True)
        )
    )


def _rank(options: Mapping[str, Any]) -> int:
    return _RANKS.get(str(options.get("priority")), _RANKS["normal"])
