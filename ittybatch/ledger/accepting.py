"""Batches that accept requests: opened with the day's first one, closed when the day ends.

Such a batch has growing chunks. A growing chunk is released from the beginning and is not done
before it stops growing, even if all its jobs have ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import aliased

from ittybatch.ledger import identity, runs
from ittybatch.ledger.batches import job_totals
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk
from ittybatch.ledger.run_moves import new_run
from ittybatch.ledger.states import BatchState, ChunkState, RunState

SOURCE_TYPE = "requests"
_DEFAULT_CHUNK_SIZE = 500
_ACCEPTING = [BatchState.RUNNING.value, BatchState.HELD.value]


@dataclass(frozen=True, slots=True)
class IntakeSpec:
    """What all requests of one batch have in common.

    Args:
        name: The batch's name, without its day.
        profile: The profile, as JSON: frozen for the life of the batch.
        options: The batch's options, as JSON.
        digest: Digest of the others. A request with another digest gets another batch.
    """

    name: str
    profile: Mapping[str, Any]
    options: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class Accepting:
    """A batch that takes requests."""

    id: str
    state: BatchState
    options: dict[str, Any]
    trips: int
    closed_until: datetime | None


@dataclass(slots=True)
class GrowingChunk:
    """A chunk that grows, locked until the transaction ends.

    Args:
        id: The chunk.
        room: How many more items it may have.
        next_number: The number of the batch's next item.
    """

    id: int
    room: int
    next_number: int


def accepting_batches(transaction: Transaction) -> dict[str, Accepting]:
    """The batches that take requests now, by the digest of what they take; not locked."""
    digest = Batch.source["digest"].as_string().label("digest")
    rows = transaction.rows(
        _accepting(transaction).add_columns(digest).order_by(Batch.created_at, Batch.id)
    )
    return {row.digest: _as_accepting(row) for row in rows}


def lock_accepting(transaction: Transaction, batch: str) -> Accepting | None:
    """Lock a batch while requests are added to it.

    Cancelling, closing and ending it wait for that lock, or have taken it first.

    Returns:
        The batch; None if it takes no more requests.
    """
    row = transaction.execute(
        _accepting(transaction).where(Batch.id == batch).with_for_update(key_share=True)
    ).one_or_none()
    return None if row is None else _as_accepting(row)


def open_accepting(transaction: Transaction, spec: IntakeSpec) -> Accepting:
    """Open the batch of today's requests, in UTC, for one profile.

    The caller has made sure that there is none, under the lock that planning takes. The waker
    creates the flow run, so the batch needs neither Prefect nor a worker to begin.
    """
    now = transaction.now
    batch = identity.batch_id(now)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    transaction.execute(
        insert(Batch).values(
            id=batch,
            name=f"{spec.name}, {day.day} {day:%b}",
            state=BatchState.RUNNING.value,
            source={"type": SOURCE_TYPE, "day": f"{day:%Y-%m-%d}", "digest": spec.digest},
            profile=dict(spec.profile),
            options=dict(spec.options),
            scan_done=True,
            counts={},
            created_at=now,
            accepts_until=day + timedelta(days=1),
        )
    )
    # From generation 1: the flow run of generation 0 is one that somebody started.
    new_run(transaction, identity.batch_owner(batch), batch, RunState.STARTING, generation=1)
    return Accepting(batch, BatchState.RUNNING, dict(spec.options), 0, None)


def growing_chunk(transaction: Transaction, batch: Accepting) -> GrowingChunk:
    """Lock the chunk that takes the next items of a batch; begin one if there is none.

    The caller has locked the batch.
    """
    size = int(batch.options.get("chunk_size") or _DEFAULT_CHUNK_SIZE)
    other = aliased(Chunk)
    items = select(func.sum(other.items)).where(other.batch_id == batch.id).scalar_subquery()
    rows = transaction.rows(
        select(Chunk.id, Chunk.items, items.label("items_of_batch"))
        .where(Chunk.batch_id == batch.id, Chunk.growing.is_(True))
        .order_by(Chunk.number.desc())
        .limit(1)
        .with_for_update()
    )
    if rows and rows[0].items < size:
        return GrowingChunk(rows[0].id, size - rows[0].items, rows[0].items_of_batch)
    if rows:
        _stop_growing(transaction, [rows[0].id])
    number, next_number = transaction.execute(
        select(
            func.coalesce(func.max(Chunk.number), 0) + 1, func.coalesce(func.sum(Chunk.items), 0)
        ).where(Chunk.batch_id == batch.id)
    ).one()
    chunk: int = transaction.execute(
        insert(Chunk)
        .values(batch_id=batch.id, number=number, state=ChunkState.RELEASED.value, growing=True)
        .returning(Chunk.id)
    ).scalar_one()
    # A held batch has no runs; resuming it restarts those that have ended.
    state = RunState.ENDED if batch.state is BatchState.HELD else RunState.STARTING
    new_run(transaction, identity.chunk_owner(chunk), batch.id, state)
    return GrowingChunk(chunk, size, next_number)


def stop_accepting(transaction: Transaction, batch: str) -> None:
    """Let a batch take no more requests: it ends like any other once its jobs have ended.

    The caller has locked the batch.
    """
    totals = job_totals(transaction, batch)
    counts = {"items": totals["items"], "jobs": totals["jobs"]}
    transaction.execute(
        update(Batch).where(Batch.id == batch).values(accepts_until=None, counts=counts)
    )
    rows = transaction.rows(
        select(Chunk.id)
        .where(Chunk.batch_id == batch, Chunk.growing.is_(True))
        .order_by(Chunk.id)
        .with_for_update()
    )
    _stop_growing(transaction, [row.id for row in rows])


def _stop_growing(transaction: Transaction, chunks: list[int]) -> None:
    if chunks:
        transaction.execute(update(Chunk).where(Chunk.id.in_(chunks)).values(growing=False))
        runs.wake_settled(transaction, chunks)


def _accepting(transaction: Transaction) -> Any:  # noqa: ANN401  a Select of many columns
    return select(Batch.id, Batch.state, Batch.options, Batch.trips, Batch.closed_until).where(
        Batch.accepts_until > transaction.now, Batch.state.in_(_ACCEPTING)
    )


def _as_accepting(row: Any) -> Accepting:  # noqa: ANN401
    return Accepting(row.id, BatchState(row.state), row.options, row.trips, row.closed_until)
