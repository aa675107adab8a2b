"""Flow runs as the ledger sees them: started, awake, waiting, called, ended, replaced."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, bindparam, or_, select, update

from ittybatch.ledger import identity
from ittybatch.ledger.bulk import BulkQuery
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Chunk, Run
from ittybatch.ledger.states import (
    RunState,
)

_SHORTEST_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class OwnedRun:
    """A flow run, with what is needed to look after it."""

    owner: str
    batch_id: str
    generation: int
    flow_run_id: str | None
    deployment_id: str | None
    state: RunState
    leg: int
    since: datetime
    heartbeat_at: datetime
    called_at: datetime | None
    calls: int
    stumbles: int


def wake_settled(transaction: Transaction, chunks: Sequence[int]) -> None:
    """Make the runs of those chunks ready that have nothing open any more."""
    settled = _SETTLED.fetch(transaction, [{"chunk": chunk} for chunk in chunks])
    if settled:
        transaction.execute(
            update(Run)
            .where(Run.owner.in_([identity.chunk_owner(chunk) for (chunk,) in settled]))
            .values(wake_at=transaction.now)
        )


def wake_chunks_at(transaction: Transaction, times: dict[int, datetime]) -> None:
    """Make the runs of these chunks ready at these times, or earlier where they are already."""
    transaction.execute(
        _WAKE_AT,
        [
            {"run_owner": identity.chunk_owner(chunk), "at": at}
            for chunk, at in sorted(times.items())
        ],
    )


def note_call(transaction: Transaction, owners: Sequence[str]) -> None:
    """Note that these runs have been called awake."""
    transaction.execute(
        update(Run)
        .where(Run.owner.in_(owners), Run.state == RunState.WAITING.value)
        .values(called_at=transaction.now, calls=Run.calls + 1)
    )


def ready_runs(transaction: Transaction, limit: int = 1000) -> list[OwnedRun]:
    """Runs that wait and have a reason to go on, the longest ready first."""
    return _owned(
        transaction.rows(
            _run_columns()
            .where(Run.state == RunState.WAITING.value, Run.wake_at <= transaction.now)
            .order_by(Run.wake_at)
            .limit(limit)
        )
    )


def silent_runs(transaction: Transaction, lease_s: float) -> list[OwnedRun]:
    """Runs that should be starting or working, and have not said so for a lease."""
    return _owned(
        transaction.rows(
            _run_columns().where(
                Run.state.in_([RunState.STARTING.value, RunState.AWAKE.value]),
                Run.heartbeat_at <= transaction.now - timedelta(seconds=lease_s),
            )
        )
    )


def unbound_runs(transaction: Transaction, older_than_s: float) -> list[OwnedRun]:
    """Runs that should exist and that nobody has made yet."""
    return _owned(
        transaction.rows(
            _run_columns().where(
                Run.state == RunState.STARTING.value,
                Run.flow_run_id.is_(None),
                Run.since <= transaction.now - timedelta(seconds=older_than_s),
            )
        )
    )


def unmade_runs(transaction: Transaction, batch: str) -> list[OwnedRun]:
    """A batch's runs that are to be made."""
    return _owned(
        transaction.rows(
            _run_columns().where(
                Run.batch_id == batch,
                Run.state == RunState.STARTING.value,
                Run.flow_run_id.is_(None),
            )
        )
    )


def waiting_runs(transaction: Transaction, *, batches_only: bool = False) -> list[OwnedRun]:
    """Every run that waits, ready or not; or only those of batches, not of chunks."""
    query = _run_columns().where(Run.state == RunState.WAITING.value)
    if batches_only:
        query = query.where(Run.owner.startswith("batch:"))
    return _owned(transaction.rows(query))


def read_run(transaction: Transaction, owner: str) -> OwnedRun | None:
    """One owner's run."""
    found = _owned(transaction.rows(_run_columns().where(Run.owner == owner)))
    return found[0] if found else None


def bind_run(transaction: Transaction, owner: str, generation: int, flow_run_id: str) -> None:
    """Note which flow run Prefect made for an owner."""
    transaction.execute(
        update(Run)
        .where(Run.owner == owner, Run.generation == generation, Run.flow_run_id.is_(None))
        .values(flow_run_id=flow_run_id, heartbeat_at=transaction.now)
    )


def replace_run(transaction: Transaction, owner: str, generation: int) -> bool:
    """Give an owner up for a new run under the next generation.

    Returns:
        Whether this call did it: of several, one does.
    """
    changed = transaction.execute(
        update(Run)
        .where(Run.owner == owner, Run.generation == generation)
        .values(
            generation=generation + 1,
            stumbles=Run.stumbles + 1,
            flow_run_id=None,
            state=RunState.STARTING.value,
            since=transaction.now,
            heartbeat_at=transaction.now,
            wake_at=None,
            called_at=None,
            calls=0,
        )
    )
    return changed.rowcount == 1


def end_runs(transaction: Transaction, batch: str) -> None:
    """Say that no run works for a batch or its chunks any more."""
    transaction.execute(
        update(Run).where(Run.batch_id == batch).values(state=RunState.ENDED.value, wake_at=None)
    )


def _run_columns() -> Any:  # noqa: ANN401  a Select of many columns
    return select(
        Run.owner,
        Run.batch_id,
        Run.generation,
        Run.flow_run_id,
        Run.deployment_id,
        Run.state,
        Run.leg,
        Run.since,
        Run.heartbeat_at,
        Run.called_at,
        Run.calls,
        Run.stumbles,
    )


def _owned(rows: Sequence[Any]) -> list[OwnedRun]:
    return [OwnedRun(**{**row._asdict(), "state": RunState(row.state)}) for row in rows]


_SETTLED = BulkQuery(
    {"chunk": BigInteger},
    lambda given: select(Chunk.id).where(
        Chunk.id.in_(select(given.c.chunk)), Chunk.planned == 0, Chunk.in_flight == 0
    ),
)
_WAKE_AT = (
    update(Run)
    .where(
        Run.owner == bindparam("run_owner"),
        or_(Run.wake_at.is_(None), Run.wake_at > bindparam("at")),
    )
    .values(wake_at=bindparam("at"))
)
