"""What slows or stops a batch, and its chunks with their flow runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import String, and_, cast, func, literal, select

from ittybatch.ledger.batches import CANARY
from ittybatch.ledger.brakes import ceiling_of
from ittybatch.ledger.counters import COLUMNS, attempts_of
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Job, Run
from ittybatch.ledger.states import BatchState, ChunkState, JobState, RunState

MOST_CHUNKS = 50


@dataclass(frozen=True, slots=True)
class Brakes:
    """What slows or stops a batch.

    Args:
        state: The batch's state.
        options: Its options.
        sent: Submissions that it has made, retries included.
        ceiling: Submissions that it may make; None without a limit.
        canary: Jobs of the canary by state, and its number of items; None if there is none.
        canary_passed: Whether the canary has passed, or an operator has resumed the batch after it.
        trips: How many times in a row the service was found to be down.
        circuit_open_until: When the next submission may probe the service.
        waits_for_room: Whether its next chunk waits for other jobs to end.
        accepts_until: Until when a batch of requests takes more of them.
        now: When this was read.
    """

    state: BatchState
    options: Mapping[str, Any]
    sent: int
    ceiling: int | None
    canary: Mapping[str, int] | None
    canary_passed: bool
    trips: int
    circuit_open_until: datetime | None
    waits_for_room: bool
    accepts_until: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk, and its flow run.

    Args:
        id: The ledger's id.
        number: Its number in the batch.
        state: Its state.
        items: Its items.
        counts: Its jobs by state.
        growing: Whether requests may still add items.
        ended_at: When it was done.
        run_state: The state of its flow run; None if it has none yet.
        flow_run_id: Prefect's id of its flow run.
        wake_at: When its run continues at the latest.
        since: Since when its run is in this state.
    """

    id: int
    number: int
    state: ChunkState
    items: int
    counts: Mapping[str, int]
    growing: bool
    ended_at: datetime | None
    run_state: RunState | None
    flow_run_id: str | None
    wake_at: datetime | None
    since: datetime | None


def brakes_of(transaction: Transaction, batch: str) -> Brakes:
    """What slows or stops a batch."""
    row = transaction.execute(select(*Batch.__table__.columns).where(Batch.id == batch)).one()
    sent = select(func.coalesce(func.sum(Chunk.sent), 0)).where(Chunk.batch_id == batch)
    canary = None
    if row.options.get("canary_items"):
        found = transaction.rows(
            select(Chunk.items, *(getattr(Chunk, name) for name in COLUMNS)).where(
                Chunk.batch_id == batch, Chunk.number == CANARY
            )
        )
        canary = dict(found[0]._mapping) if found else {}  # noqa: SLF001  its public name
    return Brakes(
        state=BatchState(row.state),
        options=row.options,
        sent=int(transaction.execute(sent).scalar_one()),
        ceiling=ceiling_of(row.options),
        canary=canary,
        canary_passed=row.canary_passed,
        trips=row.trips,
        circuit_open_until=row.closed_until if row.trips else None,
        waits_for_room=row.wants_room and row.state == BatchState.RUNNING,
        accepts_until=row.accepts_until,
        now=transaction.now,
    )


def waiting_again(transaction: Transaction, batch: str) -> dict[int, int]:
    """Jobs that were sent and wait for another attempt, by chunk; chunks without any are left out.

    Only released chunks have such jobs, and few chunks are released at a time.
    """
    query = (
        select(Job.chunk_id, func.count().label("jobs"))
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(
            Chunk.batch_id == batch,
            Chunk.state == ChunkState.RELEASED.value,
            Chunk.planned > 0,
            Chunk.sent > 0,
            Job.state == JobState.PLANNED.value,
            attempts_of(Job) > 0,
        )
        .group_by(Job.chunk_id)
    )
    return {row.chunk_id: int(row.jobs) for row in transaction.rows(query)}


def chunk_rows(
    transaction: Transaction,
    batch: str,
    *,
    after: int = 0,
    state: ChunkState | None = None,
    limit: int = MOST_CHUNKS,
) -> list[ChunkRow]:
    """Chunks of a batch in their order, each with its flow run.

    Args:
        transaction: The transaction to look in.
        batch: The batch.
        after: Only chunks with a larger number.
        state: Only chunks in this state.
        limit: The maximum number.
    """
    owner = literal("chunk:") + cast(Chunk.id, String)
    query = (
        select(
            Chunk.id,
            Chunk.number,
            Chunk.state,
            Chunk.items,
            *(getattr(Chunk, name) for name in COLUMNS),
            Chunk.growing,
            Chunk.ended_at,
            Run.state.label("run_state"),
            Run.flow_run_id,
            Run.wake_at,
            Run.since,
        )
        .outerjoin(Run, and_(Run.owner == owner, Run.batch_id == Chunk.batch_id))
        .where(Chunk.batch_id == batch, Chunk.number > after)
        .order_by(Chunk.number)
        .limit(limit)
    )
    if state is not None:
        query = query.where(Chunk.state == state.value)
    return [
        ChunkRow(
            id=row.id,
            number=row.number,
            state=ChunkState(row.state),
            items=row.items,
            counts={name: getattr(row, name) for name in COLUMNS},
            growing=row.growing,
            ended_at=row.ended_at,
            run_state=RunState(row.run_state) if row.run_state else None,
            flow_run_id=row.flow_run_id,
            wake_at=row.wake_at,
            since=row.since,
        )
        for row in transaction.rows(query)
    ]
