"""Legs: what one process does for a batch or a chunk between two suspensions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, case, func, or_, select, update

from ittybatch.ledger import identity
from ittybatch.ledger.control import resume_batch
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Job, Run
from ittybatch.ledger.run_moves import Move, lock_place, move
from ittybatch.ledger.states import BatchState, JobState, RunState

_SHORTEST_WAIT_S = 1.0
_CHECK_CAPACITY_S = 120.0


@dataclass(frozen=True, slots=True)
class Leg:
    """The work of one process for a batch or a chunk, between two suspensions."""

    owner: str
    batch_id: str
    generation: int
    number: int


class Ending(Enum):
    """The result of `end_run`."""

    ENDED = auto()
    GO_ON = auto()
    SUSPENDED = auto()
    SUPERSEDED = auto()


def begin_leg(
    transaction: Transaction,
    owner: str,
    flow_run_id: str | None,
    *,
    take_over: bool = False,
    after: Leg | None = None,
) -> Leg | None:
    """Mark the run awake and number this leg; the number keys its next suspension.

    A leg begins in a held batch too: it reports the hold and ends. A run that was suspended and
    resumed in the Prefect UI resumes its batch: Prefect has started a new process for it.

    Args:
        transaction: The transaction to do it in.
        owner: The batch or chunk that it works for.
        flow_run_id: The run.
        take_over: Replace the owner's current run, because an operator named the batch.
        after: The previous leg of the same process, if any: the new leg begins only if no
            other run has replaced this one since.

    Returns:
        The leg, or None if another run works for the owner. `after`, and nothing has changed, if
        its run was suspended in the Prefect UI meanwhile.
    """
    was = transaction.rows(select(Run.state).where(Run.owner == owner))
    suspended = bool(was) and was[0].state == RunState.SUSPENDED
    place = lock_place(transaction, owner, exclusive=suspended)
    if place is None:
        return None
    row = place.run
    if after is not None and row.generation != after.generation:
        return None
    if after is not None and row.state == RunState.SUSPENDED:
        return after
    generation = row.generation
    if row.flow_run_id is not None and row.flow_run_id != flow_run_id:
        if not take_over:
            return None
        generation += 1
    if suspended and place.batch_state is BatchState.HELD:
        resume_batch(transaction, row.batch_id)
    move(
        transaction,
        Move.BEGIN,
        Run.owner == owner,
        flow_run_id=flow_run_id,
        generation=generation,
        leg=row.leg + 1,
        since=transaction.now,
        heartbeat_at=transaction.now,
        wake_at=None,
        called_at=None,
        calls=0,
        failures=0,
        retry_at=None,
    )
    return Leg(owner, row.batch_id, generation, row.leg + 1)


def beat(transaction: Transaction, leg: Leg) -> bool:
    """Record a heartbeat of a leg.

    Returns:
        False if another run has replaced it.
    """
    changed = transaction.execute(
        update(Run)
        .where(
            Run.owner == leg.owner,
            Run.generation == leg.generation,
            Run.state == RunState.AWAKE.value,
        )
        .values(heartbeat_at=transaction.now)
    )
    return changed.rowcount == 1


def begin_wait(transaction: Transaction, leg: Leg, *, in_place: bool = False) -> bool:
    """Mark the run as waiting, and set when it continues if no event wakes it before.

    A `wake_at` that was set while the leg worked is kept if it is earlier.

    Args:
        transaction: The transaction to do it in.
        leg: The leg that ends here.
        in_place: The process stays and checks for news itself; the waker need not wake it.

    Returns:
        Whether the leg waits: it was awake, or is to be woken already. Otherwise another leg has
        replaced it, or its run has ended or is suspended, and this leg must not wait.
    """
    chunk = identity.owned_chunk(leg.owner)
    if chunk is not None:
        wake_at = _next_event(transaction, chunk)
    else:
        wake_at = _next_check(transaction, leg.batch_id)
    values: dict[str, Any] = {"since": transaction.now, "stumbles": 0}
    if wake_at is not None:
        values["wake_at"] = case(
            (Run.wake_at.is_(None), wake_at), (Run.wake_at > wake_at, wake_at), else_=Run.wake_at
        )
    if not in_place:
        return bool(move(transaction, Move.WAIT, *_run_of(leg), **values))
    awake = Run.state == RunState.AWAKE.value
    return bool(move(transaction, Move.GO_ON, awake, *_run_of(leg), **values))


def is_suspended(transaction: Transaction, leg: Leg) -> bool:
    """Whether an operator suspended the run of a leg in the Prefect UI while it worked."""
    suspended = Run.state == RunState.SUSPENDED.value
    return bool(transaction.rows(select(Run.owner).where(suspended, *_run_of(leg))))


def _next_check(transaction: Transaction, batch: str) -> datetime | None:
    """When a batch checks for freed capacity, or stops accepting requests."""
    row = transaction.execute(
        select(Batch.wants_room, Batch.accepts_until).where(Batch.id == batch)
    ).one()
    if row.wants_room:
        return transaction.now + timedelta(seconds=_CHECK_CAPACITY_S)
    accepts_until: datetime | None = row.accepts_until
    return accepts_until


def postpone_idle(transaction: Transaction, owners: Sequence[str]) -> set[str]:
    """Postpone ready runs of growing chunks that have nothing to do yet.

    Each request asks for a leg at the end of its lease, in case its sender dies. By then the job
    was sent, as a rule, and a process that only finds that out would be started in vain.

    Args:
        transaction: The transaction to do it in.
        owners: Owners of ready runs.

    Returns:
        The owners that are not ready any more.
    """
    postponed: set[str] = set()
    for owner in growing_among(transaction, owners):
        chunk = identity.owned_chunk(owner)
        due_at = _next_event(transaction, chunk) if chunk is not None else None
        if due_at is not None and due_at <= transaction.now + timedelta(seconds=_SHORTEST_WAIT_S):
            continue
        changed = transaction.execute(
            update(Run)
            .where(Run.owner == owner, Run.state == RunState.WAITING.value)
            .values(wake_at=due_at)
        )
        if changed.rowcount:
            postponed.add(owner)
    return postponed


def growing_among(transaction: Transaction, owners: Sequence[str]) -> list[str]:
    """The owners that are growing chunks of batches that are not held, in lock order."""
    chunks = [chunk for owner in owners if (chunk := identity.owned_chunk(owner)) is not None]
    rows = transaction.rows(
        select(Chunk.id)
        .join(Batch, Batch.id == Chunk.batch_id)
        .where(
            Chunk.id.in_(chunks),
            Chunk.growing.is_(True),
            Batch.state == BatchState.RUNNING.value,
        )
        .order_by(Chunk.id)
    )
    return [identity.chunk_owner(row.id) for row in rows]


def _next_event(transaction: Transaction, chunk: int) -> datetime | None:
    """When a chunk needs a leg: now, at its next retry, or at its next deadline.

    None if a growing chunk has nothing to do.
    """
    row = transaction.execute(
        select(Chunk.planned, Chunk.in_flight, Chunk.growing, Batch.closed_until)
        .join(Batch, Batch.id == Chunk.batch_id)
        .where(Chunk.id == chunk)
        .with_for_update(of=Chunk)
    ).one()
    now = transaction.now
    if row.planned == 0 and row.in_flight == 0:
        return None if row.growing else now
    if row.closed_until is not None and row.closed_until > now:
        # Nothing may be sent before then; jobs that end meanwhile wake the run.
        reopens: datetime = row.closed_until
        return reopens
    soonest = now + timedelta(seconds=_SHORTEST_WAIT_S)
    # A job that is claimed without a time is in no leg's hands: a leg records what became of each
    # claim before it waits. The COMMIT of this one got no answer, and the claim was repeated.
    unsent = Job.state.in_([JobState.PLANNED.value, JobState.SUBMITTING.value])
    times = transaction.execute(
        select(
            func.min(case((unsent, func.coalesce(Job.not_before, now)))),
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
    """Whether the run was woken or replaced, for a leg that waits in place."""
    return bool(
        transaction.rows(
            select(Run.owner).where(
                Run.owner == leg.owner,
                or_(
                    Run.wake_at <= transaction.now,
                    Run.generation != leg.generation,
                    Run.state != RunState.AWAKE.value,
                ),
            )
        )
    )


def end_run(transaction: Transaction, leg: Leg) -> Ending:
    """End a run, unless its owner has work again.

    A leg of a held batch reports and ends. If the batch was resumed in between, no new run was
    made because this one existed, so it continues. Both sides read the batch under its lock, so
    one of them sees the other.

    Returns:
        `ENDED`; `GO_ON` if the leg has to read the ledger again; `SUSPENDED` if the run was
        suspended in Prefect, and the process ends without ending the run; or `SUPERSEDED`.
    """
    place = lock_place(transaction, leg.owner)
    if place is None or (place.run.generation, place.run.leg) != (leg.generation, leg.number):
        return Ending.SUPERSEDED
    if place.run.state == RunState.SUSPENDED:
        return Ending.SUSPENDED
    if place.run.state == RunState.ENDED:
        return Ending.ENDED
    # Resumed while this leg was ending: it has to ask for approval again.
    asks = place.batch_state is BatchState.UNAPPROVED and place.run.wake_at is not None
    if place.needs_run or asks:
        move(transaction, Move.GO_ON, *_run_of(leg), wake_at=None, heartbeat_at=transaction.now)
        return Ending.GO_ON
    move(transaction, Move.END, *_run_of(leg), wake_at=None)
    return Ending.ENDED


def _run_of(leg: Leg) -> tuple[ColumnElement[bool], ...]:
    return (Run.owner == leg.owner, Run.generation == leg.generation, Run.leg == leg.number)


def asked_leg(transaction: Transaction, batch: str, flow_run_id: str | None) -> int | None:
    """The number of the leg of this flow run that last asked for approval.

    None if it has not asked: a run cannot read the form of the run that it replaced.
    """
    row = transaction.execute(
        select(Batch.asked_leg, Batch.asked_run).where(Batch.id == batch)
    ).one()
    return row.asked_leg if row.asked_run == flow_run_id else None


def ask(transaction: Transaction, leg: Leg, flow_run_id: str | None) -> bool:
    """Record that a leg of a flow run asks for approval, and that the run waits for the answer.

    Returns:
        Whether it waits: not if another run has replaced it.
    """
    waits = begin_wait(transaction, leg)
    if waits:
        transaction.execute(
            update(Batch)
            .where(Batch.id == leg.batch_id)
            .values(asked_leg=leg.number, asked_run=flow_run_id)
        )
    return waits
