"""Legs: what one process does for a batch or a chunk between two suspensions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, or_, select, update

from ittybatch.ledger import identity
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Job, Run
from ittybatch.ledger.states import JobState, RunState

_SHORTEST_WAIT_S = 1.0
_LOOK_FOR_ROOM_S = 120.0


@dataclass(frozen=True, slots=True)
class Leg:
    """One process's turn at a batch or a chunk, between two suspensions."""

    owner: str
    batch_id: str
    generation: int
    number: int


def begin_leg(
    transaction: Transaction, owner: str, flow_run_id: str | None, *, take_over: bool = False
) -> Leg | None:
    """Say that the run is awake. Its next wait gets a number that no wait before it had.

    Args:
        transaction: The transaction to do it in.
        owner: The batch or chunk that it works for.
        flow_run_id: The run.
        take_over: Take the place of whichever run had it: somebody said so by name.

    Returns:
        The leg, or None where another run has taken the owner's place.
    """
    row = transaction.execute(
        select(Run.batch_id, Run.generation, Run.leg, Run.flow_run_id, Run.state)
        .where(Run.owner == owner)
        .with_for_update()
    ).one_or_none()
    if row is None:
        return None
    generation = row.generation
    if row.flow_run_id is not None and row.flow_run_id != flow_run_id:
        if not take_over:
            return None
        generation += 1
    transaction.execute(
        update(Run)
        .where(Run.owner == owner)
        .values(
            flow_run_id=flow_run_id,
            generation=generation,
            state=RunState.AWAKE.value,
            leg=row.leg + 1,
            since=transaction.now,
            heartbeat_at=transaction.now,
            wake_at=None,
            called_at=None,
            calls=0,
        )
    )
    return Leg(owner, row.batch_id, generation, row.leg + 1)


def beat(transaction: Transaction, leg: Leg) -> bool:
    """Say that a leg is alive.

    Returns:
        False where another run has taken its place.
    """
    changed = transaction.execute(
        update(Run)
        .where(Run.owner == leg.owner, Run.generation == leg.generation)
        .values(heartbeat_at=transaction.now)
    )
    return changed.rowcount == 1


def begin_wait(transaction: Transaction, leg: Leg, *, in_place: bool = False) -> None:
    """Say that the run is about to wait, and when it goes on if nothing happens before.

    What happened since the leg began has set `wake_at` already, and stands.

    Args:
        transaction: The transaction to do it in.
        leg: The leg that ends here.
        in_place: The process stays and looks for itself; nobody is to wake it.
    """
    chunk = identity.owned_chunk(leg.owner)
    if chunk is not None:
        wake_at = _next_event(transaction, chunk)
    else:
        wake_at = _next_look(transaction, leg.batch_id)
    transaction.execute(
        update(Run)
        .where(Run.owner == leg.owner, Run.generation == leg.generation, Run.leg == leg.number)
        .values(
            state=RunState.AWAKE.value if in_place else RunState.WAITING.value,
            since=transaction.now,
            stumbles=0,
            wake_at=case(
                (Run.wake_at.is_(None), wake_at),
                (Run.wake_at > wake_at, wake_at),
                else_=Run.wake_at,
            )
            if wake_at is not None
            else Run.wake_at,
        )
    )


def _next_look(transaction: Transaction, batch: str) -> datetime | None:
    """When a batch looks whether others have left room, in case nobody tells it."""
    wants = transaction.execute(select(Batch.wants_room).where(Batch.id == batch)).scalar_one()
    return transaction.now + timedelta(seconds=_LOOK_FOR_ROOM_S) if wants else None


def _next_event(transaction: Transaction, chunk: int) -> datetime | None:
    """When a chunk needs a leg: now, at its next retry, or at its next deadline."""
    row = transaction.execute(
        select(Chunk.planned, Chunk.in_flight, Batch.closed_until)
        .join(Batch, Batch.id == Chunk.batch_id)
        .where(Chunk.id == chunk)
        .with_for_update(of=Chunk)
    ).one()
    now = transaction.now
    if row.planned == 0 and row.in_flight == 0:
        return now
    if row.closed_until is not None and row.closed_until > now:
        # Nothing may be sent before; what ends meanwhile says so by itself.
        reopens: datetime = row.closed_until
        return reopens
    soonest = now + timedelta(seconds=_SHORTEST_WAIT_S)
    times = transaction.execute(
        select(
            func.min(
                case((Job.state == JobState.PLANNED.value, func.coalesce(Job.not_before, now)))
            ),
            func.min(case((Job.state == JobState.SUBMITTING.value, Job.not_before))),
            func.min(case((Job.state != JobState.PLANNED.value, Job.deadline_at))),
        ).where(
            Job.chunk_id == chunk,
            Job.state.in_(
                [
                    JobState.PLANNED.value,
                    JobState.SUBMITTING.value,
                    JobState.SUBMITTED.value,
                ]
            ),
        )
    ).one()
    known = [time for time in times if time is not None]
    return max(min(known), soonest) if known else None


def has_news(transaction: Transaction, leg: Leg) -> bool:
    """Whether the run has been given a reason to go on, for a leg that waits in place."""
    return bool(
        transaction.rows(
            select(Run.owner).where(
                Run.owner == leg.owner,
                or_(Run.wake_at <= transaction.now, Run.generation != leg.generation),
            )
        )
    )


def end_run(transaction: Transaction, leg: Leg) -> None:
    """Say that a run has ended on purpose."""
    transaction.execute(
        update(Run)
        .where(Run.owner == leg.owner, Run.generation == leg.generation)
        .values(state=RunState.ENDED.value, wake_at=None)
    )
