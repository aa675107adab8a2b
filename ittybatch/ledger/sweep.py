"""The sweep finds and repairs batches and chunks that have work left, but no run to do it.

The invariant: every batch that has not ended, and every released chunk of it that still has work,
has a run. The run is starting, awake with a heartbeat, or waiting with a wake time or with jobs
under way. No transition breaks this; the sweep is a safeguard. It reads the batches that have not
ended, and their chunks and runs, but never the table of jobs.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any

from sqlalchemy import String, and_, cast, exists, literal, or_, select

from ittybatch.ledger import identity, runs
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.control import hold_batch, restart_runs
from ittybatch.ledger.database import Ledger, Transaction
from ittybatch.ledger.models import Batch, Chunk, Run
from ittybatch.ledger.run_moves import Move, move, new_run, wake
from ittybatch.ledger.states import BatchState, ChunkState, RunState

# Longer than any deadline of a job that was in flight when its batch was cancelled.
_COLLECTS_FOR = timedelta(days=30)


class Fault(Enum):
    """What an owner lacks."""

    NO_RUN = auto()
    RUN_ENDED = auto()
    NOTHING_WAKES_IT = auto()
    SUSPENDED = auto()
    PROCESS_GONE = auto()
    ALL_ENDED = auto()


_DESCRIPTIONS = {
    Fault.NO_RUN: "it had no run; one is created",
    Fault.RUN_ENDED: "its run had ended before its work was done; a new one is created",
    Fault.NOTHING_WAKES_IT: "nothing would have woken its run; it is woken",
    Fault.SUSPENDED: "its run was suspended while its batch was not held; it is woken",
    Fault.PROCESS_GONE: "the process that worked for it is gone; its batch is held",
    Fault.ALL_ENDED: "its jobs had all ended and no run collected them; it is marked done",
}


@dataclass(frozen=True, slots=True)
class Broken:
    """An owner that breaks the invariant."""

    owner: str
    batch_id: str
    fault: Fault

    def describe(self) -> str:
        """Describe the fault and its repair in one line."""
        return f"{self.owner} of batch {self.batch_id}: {_DESCRIPTIONS[self.fault]}"


def find_broken(transaction: Transaction, lease_s: float, batch: str | None = None) -> list[Broken]:
    """Find the owners that need a run, and have no run that works or will be woken.

    Args:
        transaction: The transaction to look in.
        lease_s: Seconds without a heartbeat after which a process without a flow run counts as
            gone: Prefect does not know it.
        batch: Look at this batch only.
    """
    found = [
        Broken(row.owner, row.batch_id, fault)
        for row in [*_batches(transaction, batch), *_chunks(transaction, batch)]
        if (fault := _fault(transaction, row, lease_s)) is not None
    ]
    return sorted(found, key=lambda each: each.owner)


def sweep(ledger: Ledger, lease_s: float) -> list[Broken]:
    """Repair every owner that breaks the invariant; write nothing if there is none.

    Returns:
        What was repaired.
    """
    broken = ledger.read(find_broken, lease_s)
    batches = sorted({each.batch_id for each in broken})
    return [each for batch in batches for each in ledger.write(mend, batch, lease_s)]


def mend(transaction: Transaction, batch: str, lease_s: float) -> list[Broken]:
    """Repair a batch's owners that break the invariant.

    Returns:
        What was repaired: less than was found before if something moved meanwhile.
    """
    transaction.execute(select(Batch.id).where(Batch.id == batch).with_for_update())
    broken = find_broken(transaction, lease_s, batch)
    for each in broken:
        its_run = Run.owner == each.owner
        match each.fault:
            case Fault.NO_RUN:
                new_run(transaction, each.owner, batch, RunState.STARTING)
            case Fault.RUN_ENDED:
                restart_runs(transaction, batch, only=each.owner)
            case Fault.NOTHING_WAKES_IT:
                wake(transaction, its_run)
            case Fault.SUSPENDED:
                move(transaction, Move.UNSUSPEND, its_run)
                wake(transaction, its_run)
            case Fault.PROCESS_GONE:
                hold_batch(
                    transaction,
                    batch,
                    f"The process that ran it is gone. `ittybatch resume {batch}` continues it.",
                )
                runs.end_runs(transaction, batch)
                # A cancelled batch cannot be held: its runs are restarted to collect what it sent.
                restart_runs(transaction, batch)
            case Fault.ALL_ENDED:
                chunk = identity.owned_chunk(each.owner)
                if chunk is not None:
                    finish_chunk(transaction, chunk)
    return broken


def _batches(transaction: Transaction, batch: str | None) -> list[Any]:
    released = exists().where(Chunk.batch_id == Batch.id, Chunk.state == ChunkState.RELEASED.value)
    owner = literal("batch:") + Batch.id
    return transaction.rows(
        select(
            owner.label("owner"),
            Batch.id.label("batch_id"),
            Batch.state.label("batch_state"),
            released.label("under_way"),
            literal(value=False).label("all_ended"),
            or_(
                Run.flow_run_id.is_(None), and_(Run.deployment_id.is_(None), Run.generation == 0)
            ).label("in_place"),
            *_RUN_COLUMNS,
        )
        .outerjoin(Run, Run.owner == owner)
        .where(
            or_(
                Batch.state.in_([BatchState.PLANNING.value, BatchState.RUNNING.value]),
                _still_collects(transaction) & released,
            ),
            _only(batch),
        )
    )


def _chunks(transaction: Transaction, batch: str | None) -> list[Any]:
    owner = literal("chunk:") + cast(Chunk.id, String)
    return transaction.rows(
        select(
            owner.label("owner"),
            Batch.id.label("batch_id"),
            Batch.state.label("batch_state"),
            # The next request wakes a growing chunk.
            or_(Chunk.in_flight > 0, Chunk.growing.is_(True)).label("under_way"),
            _ALL_ENDED.label("all_ended"),
            Run.flow_run_id.is_(None).label("in_place"),
            *_RUN_COLUMNS,
        )
        .join(Batch, Batch.id == Chunk.batch_id)
        .outerjoin(Run, Run.owner == owner)
        .where(
            or_(Batch.state == BatchState.RUNNING.value, _still_collects(transaction)),
            Chunk.state == ChunkState.RELEASED.value,
            _only(batch),
        )
    )


_RUN_COLUMNS = (
    Run.state.label("run_state"),
    Run.heartbeat_at,
    Run.wake_at,
    Run.stumbles,
)
# In a cancelled batch, planned retries are cancelled when the chunk is collected.
_ALL_ENDED = and_(
    Chunk.growing.is_(False),
    Chunk.in_flight == 0,
    or_(Chunk.planned == 0, Batch.state == BatchState.CANCELLED.value),
)


def _still_collects(transaction: Transaction) -> Any:  # noqa: ANN401  a condition
    return and_(
        Batch.state == BatchState.CANCELLED.value,
        Batch.ended_at > transaction.now - _COLLECTS_FOR,
    )


def _only(batch: str | None) -> Any:  # noqa: ANN401  a condition
    return literal(value=True) if batch is None else Batch.id == batch


def _fault(transaction: Transaction, row: Any, lease_s: float) -> Fault | None:  # noqa: ANN401
    fault: Fault | None = None
    match row.run_state:
        case None:
            fault = Fault.NO_RUN
        case RunState.ENDED if row.all_ended:
            fault = Fault.ALL_ENDED
        case RunState.ENDED:
            given_up = row.stumbles >= runs.MAX_FAILED_STARTS
            # Nothing is left to send; polls and webhooks settle what was sent.
            if not (given_up and row.batch_state == BatchState.CANCELLED):
                fault = Fault.RUN_ENDED
        case RunState.WAITING if row.wake_at is None and not row.under_way:
            fault = Fault.NOTHING_WAKES_IT
        case RunState.SUSPENDED:
            fault = Fault.SUSPENDED
        case RunState.AWAKE if row.in_place:
            # Prefect cannot report on it: it may have no flow run, or one on a server that ended
            # with its process.
            if row.heartbeat_at <= transaction.now - timedelta(seconds=lease_s):
                fault = Fault.PROCESS_GONE
    return fault
