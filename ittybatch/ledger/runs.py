"""Flow runs in the ledger: which to create, wake, check or replace."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    bindparam,
    or_,
    select,
    update,
)

from ittybatch.ledger import identity
from ittybatch.ledger.bulk import BulkQuery
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Chunk, Run
from ittybatch.ledger.run_moves import Move, Place, lock_place, move, next_generation, wake
from ittybatch.ledger.states import BatchState, RunState

# A run that ends this often before its first wait will do so again and needs an operator.
MAX_FAILED_STARTS = 5
# By then Prefect has refused for more than five minutes.
MOST_FAILURES = 10
_FIRST_RETRY_S = 5.0
_MAX_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class OwnedRun:
    """A flow run of a batch or chunk."""

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
    failures: int


def wake_settled(transaction: Transaction, chunks: Sequence[int]) -> None:
    """Make the run of each of these chunks ready if all jobs of the chunk have ended."""
    settled = _SETTLED.fetch(transaction, [{"chunk": chunk} for chunk in chunks])
    if settled:
        wake(transaction, Run.owner.in_([identity.chunk_owner(chunk) for (chunk,) in settled]))


def wake_chunks_at(transaction: Transaction, times: dict[int, datetime]) -> None:
    """Make the runs of these chunks ready at these times, unless they are ready earlier."""
    transaction.execute(
        _WAKE_AT,
        [
            {"run_owner": identity.chunk_owner(chunk), "at": at}
            for chunk, at in sorted(times.items())
        ],
    )


def note_call(transaction: Transaction, owners: Sequence[str]) -> None:
    """Record that the waker has called these runs."""
    transaction.execute(
        update(Run)
        .where(Run.owner.in_(owners), Run.state == RunState.WAITING.value)
        .values(called_at=transaction.now, calls=Run.calls + 1)
    )


def ready_runs(transaction: Transaction, limit: int = 1000) -> list[OwnedRun]:
    """Waiting runs that are ready, those ready longest first."""
    return _owned(
        transaction.rows(
            _run_columns()
            .where(
                Run.state == RunState.WAITING.value,
                Run.wake_at <= transaction.now,
                _not_backing_off(transaction),
            )
            .order_by(Run.wake_at)
            .limit(limit)
        )
    )


def silent_runs(transaction: Transaction, lease_s: float) -> list[OwnedRun]:
    """Starting or awake runs that have sent no heartbeat for `lease_s` seconds."""
    return _owned(
        transaction.rows(
            _run_columns().where(
                Run.state.in_([RunState.STARTING.value, RunState.AWAKE.value]),
                Run.heartbeat_at <= transaction.now - timedelta(seconds=lease_s),
                _not_backing_off(transaction),
            )
        )
    )


def unbound_runs(transaction: Transaction, older_than_s: float) -> list[OwnedRun]:
    """Runs that should exist and have not been created yet."""
    return _owned(
        transaction.rows(
            _run_columns().where(
                Run.state == RunState.STARTING.value,
                Run.flow_run_id.is_(None),
                Run.since <= transaction.now - timedelta(seconds=older_than_s),
                _not_backing_off(transaction),
            )
        )
    )


def unmade_runs(transaction: Transaction, batch: str) -> list[OwnedRun]:
    """A batch's runs that have to be created, its own first."""
    return _owned(
        transaction.rows(
            _run_columns()
            .where(
                Run.batch_id == batch,
                Run.state == RunState.STARTING.value,
                Run.flow_run_id.is_(None),
            )
            .order_by(Run.owner)
        )
    )


def live_runs(transaction: Transaction, batch: str) -> list[OwnedRun]:
    """A batch's runs that have a flow run, or a process, and have not ended."""
    return _owned(
        transaction.rows(
            _run_columns().where(
                Run.batch_id == batch,
                Run.state != RunState.ENDED.value,
                or_(Run.flow_run_id.is_not(None), Run.state == RunState.AWAKE.value),
            )
        )
    )


def working_runs(transaction: Transaction) -> list[OwnedRun]:
    """Every run that has a flow run and is awake, as far as the ledger knows."""
    return _in_state(transaction, RunState.AWAKE, Run.flow_run_id.is_not(None))


def suspended_runs(transaction: Transaction) -> list[OwnedRun]:
    """Every run that an operator suspended in the Prefect UI."""
    return _in_state(transaction, RunState.SUSPENDED, Run.flow_run_id.is_not(None))


def waiting_runs(transaction: Transaction, *, batches_only: bool = False) -> list[OwnedRun]:
    """Every run that waits, ready or not; or only those of batches, not of chunks."""
    which = [Run.owner.startswith("batch:")] if batches_only else []
    return _in_state(transaction, RunState.WAITING, *which)


def read_run(transaction: Transaction, owner: str) -> OwnedRun | None:
    """One owner's run."""
    found = _owned(transaction.rows(_run_columns().where(Run.owner == owner)))
    return found[0] if found else None


def run_to_make(transaction: Transaction, owner: str) -> OwnedRun | None:
    """The run to create for an owner, or None if it needs none now.

    The run of a batch that is held by now ends; resuming restarts it.
    """
    place = lock_place(transaction, owner)
    if place is None or place.run.state != RunState.STARTING:
        return None
    if not _may_replace(place):
        move(transaction, Move.END, Run.owner == owner, wake_at=None)
        return None
    return read_run(transaction, owner)


def bind_run(transaction: Transaction, owner: str, generation: int, flow_run_id: str) -> None:
    """Record the flow run that Prefect created for an owner."""
    transaction.execute(
        update(Run)
        .where(Run.owner == owner, Run.generation == generation, Run.flow_run_id.is_(None))
        .values(flow_run_id=flow_run_id, heartbeat_at=transaction.now, failures=0, retry_at=None)
    )


def replace_run(
    transaction: Transaction, owner: str, generation: int, *, seen: OwnedRun | None = None
) -> bool:
    """Replace an owner's run with a new one of the next generation.

    The run of a held batch or of a done chunk ends and is not replaced.

    Args:
        transaction: The transaction to do it in.
        owner: The batch or chunk.
        generation: The generation to replace.
        seen: The run as it was when it was found dead: nothing is done if it has moved since.

    Returns:
        Whether this call replaced it: of concurrent calls, one does.
    """
    place = lock_place(transaction, owner)
    if place is None or place.run.generation != generation:
        return False
    if seen is not None and has_moved(place, seen):
        return False
    if not _may_replace(place):
        move(transaction, Move.END, Run.owner == owner, wake_at=None)
        return False
    return bool(
        move(
            transaction,
            Move.REPLACE,
            Run.owner == owner,
            stumbles=Run.stumbles + 1,
            **next_generation(transaction),
        )
    )


def has_moved(place: Place, seen: OwnedRun) -> bool:
    """Whether a run has moved, or sent a heartbeat, since it was read: its process is alive."""
    run = place.run
    was = (seen.generation, seen.state, seen.leg)
    return (run.generation, run.state, run.leg) != was or run.heartbeat_at > seen.heartbeat_at


def hand_over(transaction: Transaction, owner: str, generation: int) -> None:
    """Replace an owner's run because its process ends; this does not count as a failed start."""
    move(
        transaction,
        Move.REPLACE,
        Run.owner == owner,
        Run.generation == generation,
        **next_generation(transaction),
    )


def end_runs(transaction: Transaction, batch: str) -> None:
    """End the runs of a batch and of its chunks."""
    move(transaction, Move.END, Run.batch_id == batch, wake_at=None)


def note_failure(transaction: Transaction, owner: str, *, count: bool) -> int:
    """Record that Prefect refused a request for an owner's run, and back off.

    Args:
        transaction: The transaction to do it in.
        owner: The batch or chunk.
        count: Whether this run caused it; otherwise the run only backs off.

    Returns:
        The number of consecutive failures.
    """
    found = transaction.rows(select(Run.failures).where(Run.owner == owner).with_for_update())
    if not found:
        return 0
    failures = int(found[0].failures) + count
    wait_s = min(_FIRST_RETRY_S * 2.0 ** min(failures - 1, 20), _MAX_RETRY_S)
    transaction.execute(
        update(Run)
        .where(Run.owner == owner)
        .values(failures=failures, retry_at=transaction.now + timedelta(seconds=wait_s))
    )
    return failures


def _may_replace(place: Place) -> bool:
    """Whether a new run may replace an owner's run that has not ended.

    A batch's run ends after its report is written; until then a new run has to write it.
    """
    if identity.owned_chunk(place.run.owner) is not None:
        return place.needs_run
    return place.batch_state is not BatchState.HELD


def _not_backing_off(transaction: Transaction) -> Any:  # noqa: ANN401  a condition
    return or_(Run.retry_at.is_(None), Run.retry_at <= transaction.now)


def _in_state(
    transaction: Transaction, state: RunState, *which: ColumnElement[bool]
) -> list[OwnedRun]:
    """The runs in a state that meet all conditions and do not back off."""
    query = _run_columns().where(Run.state == state.value, _not_backing_off(transaction), *which)
    return _owned(transaction.rows(query))


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
        Run.failures,
    )


def _owned(rows: Sequence[Any]) -> list[OwnedRun]:
    return [OwnedRun(**{**row._asdict(), "state": RunState(row.state)}) for row in rows]


_SETTLED = BulkQuery(
    {"chunk": BigInteger},
    lambda given: select(Chunk.id).where(
        Chunk.id.in_(select(given.c.chunk)),
        Chunk.planned == 0,
        Chunk.in_flight == 0,
        Chunk.growing.is_(False),
    ),
)
_WAKE_AT = (
    update(Run)
    .where(
        Run.owner == bindparam("run_owner"),
        Run.state != RunState.ENDED.value,
        or_(Run.wake_at.is_(None), Run.wake_at > bindparam("at")),
    )
    .values(wake_at=bindparam("at"))
)
