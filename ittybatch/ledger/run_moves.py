"""The state machine of runs: every write of a run's state is one of these moves.

A move changes nothing, and returns 0, if the run is not in one of the states that the move starts
from. Locks are always taken in the same order: batch, jobs, chunk, run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, exists, insert, or_, select, update

from ittybatch.ledger import identity
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Run
from ittybatch.ledger.states import BatchState, ChunkState, RunState


class Move(Enum):
    """What can happen to a run that exists."""

    BEGIN = auto()
    WAIT = auto()
    GO_ON = auto()
    SUSPEND = auto()
    UNSUSPEND = auto()
    REPLACE = auto()
    RESTART = auto()
    END = auto()


_MOVES: Mapping[Move, tuple[frozenset[RunState], RunState]] = {
    # From `ended` too: a flow run that is retried in the Prefect UI begins, and ends again.
    Move.BEGIN: (frozenset(RunState), RunState.AWAKE),
    # From `waiting` too: the transaction may be repeated, or somebody has suspended the run in the
    # Prefect UI and resumed its batch while its leg worked.
    Move.WAIT: (frozenset({RunState.AWAKE, RunState.WAITING}), RunState.WAITING),
    # A leg that was about to end when its batch was resumed.
    Move.GO_ON: (frozenset({RunState.AWAKE, RunState.WAITING}), RunState.AWAKE),
    # By an operator, in the Prefect UI; a run that waits is suspended in Prefect anyway.
    Move.SUSPEND: (frozenset({RunState.STARTING, RunState.AWAKE}), RunState.SUSPENDED),
    Move.UNSUSPEND: (frozenset({RunState.SUSPENDED}), RunState.WAITING),
    Move.REPLACE: (
        frozenset({RunState.STARTING, RunState.AWAKE, RunState.WAITING}),
        RunState.STARTING,
    ),
    Move.RESTART: (frozenset({RunState.ENDED}), RunState.STARTING),
    Move.END: (frozenset(set(RunState) - {RunState.ENDED}), RunState.ENDED),
}


def move(
    transaction: Transaction,
    what: Move,
    *which: ColumnElement[bool],
    **values: Any,  # noqa: ANN401  values and expressions of any column
) -> int:
    """Move the runs that meet all conditions and are in a state that the move starts from.

    Returns:
        The number of moved runs.
    """
    origins, goal = _MOVES[what]
    changed = transaction.execute(
        update(Run)
        .where(Run.state.in_([state.value for state in origins]), *which)
        .values(state=goal.value, **values)
    )
    return changed.rowcount


def new_run(
    transaction: Transaction,
    owner: str,
    batch: str,
    state: RunState,
    **values: Any,  # noqa: ANN401  values of any column
) -> None:
    """Create the run of an owner that had none."""
    now = transaction.now
    transaction.execute(
        insert(Run).values(
            owner=owner,
            batch_id=batch,
            state=state.value,
            since=now,
            heartbeat_at=now,
            **values,
        )
    )


def next_generation(transaction: Transaction) -> dict[str, Any]:
    """The column values of a run that gets a new flow run."""
    return {
        "generation": Run.generation + 1,
        "flow_run_id": None,
        "since": transaction.now,
        "heartbeat_at": transaction.now,
        "wake_at": None,
        "called_at": None,
        "calls": 0,
        "failures": 0,
        "retry_at": None,
    }


def wake(transaction: Transaction, *which: ColumnElement[bool], at: datetime | None = None) -> None:
    """Make runs ready, now or at a time, unless they become ready earlier."""
    at = at or transaction.now
    transaction.execute(
        update(Run)
        .where(
            Run.state != RunState.ENDED.value,
            or_(Run.wake_at.is_(None), Run.wake_at > at),
            *which,
        )
        .values(wake_at=at)
    )


@dataclass(frozen=True, slots=True)
class Place:
    """An owner's run and batch, locked until the transaction ends.

    Args:
        run: The run's row.
        batch_state: The state of its batch.
        released: For a chunk, whether it is released and not done; for a batch, whether it
            has released chunks.
    """

    run: Any
    batch_state: BatchState
    released: bool

    @property
    def needs_run(self) -> bool:
        """Whether this owner needs a run."""
        if self.batch_state is BatchState.HELD:
            return False
        is_chunk = identity.owned_chunk(self.run.owner) is not None
        if is_chunk or self.batch_state is BatchState.CANCELLED:
            return self.released
        return self.batch_state in {BatchState.PLANNING, BatchState.RUNNING}


def lock_place(transaction: Transaction, owner: str, *, exclusive: bool = False) -> Place | None:
    """Lock an owner's run, and its batch against changes of state.

    Args:
        transaction: The transaction to hold the locks in.
        owner: Whose run.
        exclusive: Lock the batch FOR UPDATE, and not FOR SHARE.

    Returns:
        The run and its batch, or None if the owner has no run.
    """
    batch = select(Run.batch_id).where(Run.owner == owner).scalar_subquery()
    state = transaction.execute(
        select(Batch.id, Batch.state).where(Batch.id == batch).with_for_update(read=not exclusive)
    ).one_or_none()
    if state is None:
        return None
    run = transaction.execute(
        select(*Run.__table__.columns).where(Run.owner == owner).with_for_update()
    ).one()
    chunk = identity.owned_chunk(owner)
    whose = Chunk.batch_id == state.id if chunk is None else Chunk.id == chunk
    released = transaction.execute(
        select(exists().where(whose, Chunk.state == ChunkState.RELEASED.value))
    ).scalar_one()
    return Place(run, BatchState(state.state), bool(released))
