"""What the metrics say of the ledger. Each query is bounded: Prometheus asks every few seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from ittybatch.ledger.control import is_paused_batch
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.last_runs import RECONCILE, last_run
from ittybatch.ledger.models import Batch, Chunk, Job, Run
from ittybatch.ledger.queries import open_work
from ittybatch.ledger.sinks import SinkStatus, sink_statuses
from ittybatch.ledger.states import (
    BatchState,
    ChunkState,
    JobState,
    RunState,
)
from ittybatch.ledger.webhook_counts import last_webhook_at

PAUSED = "paused"
STATES = (*(state.value for state in BatchState if not state.ended), PAUSED)

_OPEN = [state.value for state in BatchState if not state.ended]
# The oldest chunks with jobs in flight: what is overdue is in them.
_CHUNKS = 100
_MOST_OVERDUE = 10_000


@dataclass(frozen=True, slots=True)
class Watch:
    """The ledger's figures at one moment.

    Args:
        now: The ledger's time.
        jobs: Jobs of unfinished chunks, by state.
        suspended: Flow runs that are suspended.
        batches: Batches that have not ended, by state; `paused` are those that somebody paused.
        circuits_open: Running batches that send nothing for now, because Ittybit is down.
        overdue: Jobs at Ittybit past their deadline: of the oldest chunks, 10,000 at most.
        run_wait_s: Seconds that the oldest flow run with work to do has waited for a worker.
        last_webhook_at: When the newest webhook came.
        last_reconcile_at: When `reconcile` last ran to its end.
        sinks: The sinks.
    """

    now: datetime
    jobs: Mapping[str, int]
    suspended: int
    batches: Mapping[str, int]
    circuits_open: int
    overdue: int
    run_wait_s: float
    last_webhook_at: datetime | None
    last_reconcile_at: datetime | None
    sinks: list[SinkStatus]


def read_watch(transaction: Transaction) -> Watch:
    """Read the ledger's figures."""
    jobs, suspended = open_work(transaction)
    reconcile = last_run(transaction, RECONCILE)
    return Watch(
        now=transaction.now,
        jobs=jobs,
        suspended=suspended,
        batches=_batches(transaction),
        circuits_open=_circuits_open(transaction),
        overdue=_overdue(transaction),
        run_wait_s=_run_wait_s(transaction),
        last_webhook_at=last_webhook_at(transaction),
        last_reconcile_at=reconcile.at if reconcile else None,
        sinks=sink_statuses(transaction),
    )


def _batches(transaction: Transaction) -> dict[str, int]:
    paused = is_paused_batch().label("paused")
    rows = transaction.rows(
        select(Batch.state, paused, func.count().label("number"))
        .where(Batch.state.in_(_OPEN))
        .group_by(Batch.state, paused)
    )
    found = dict.fromkeys(STATES, 0)
    for row in rows:
        found[PAUSED if row.paused else row.state] += int(row.number)
    return found


def _circuits_open(transaction: Transaction) -> int:
    query = select(func.count()).where(Batch.state == BatchState.RUNNING.value, Batch.trips > 0)
    return int(transaction.execute(query).scalar_one())


def _overdue(transaction: Transaction) -> int:
    chunks = transaction.rows(
        select(Chunk.id)
        .where(Chunk.state == ChunkState.RELEASED.value, Chunk.in_flight > 0)
        .order_by(Chunk.id)
        .limit(_CHUNKS)
    )
    if not chunks:
        return 0
    overdue = (
        select(Job.id)
        .where(
            Job.chunk_id.in_([row.id for row in chunks]),
            Job.state.in_([JobState.SUBMITTING.value, JobState.SUBMITTED.value]),
            Job.deadline_at <= transaction.now,
        )
        .limit(_MOST_OVERDUE)
        .subquery()
    )
    query = select(func.count()).select_from(overdue)
    return int(transaction.execute(query).scalar_one())


def _run_wait_s(transaction: Transaction) -> float:
    """Seconds since the oldest run was made ready, or created, that no process has begun since."""
    ready = select(func.min(Run.wake_at)).where(
        Run.state == RunState.WAITING.value, Run.wake_at <= transaction.now
    )
    created = select(func.min(Run.since)).where(Run.state == RunState.STARTING.value)
    since = [transaction.execute(query).scalar() for query in (ready, created)]
    return max(((transaction.now - each).total_seconds() for each in since if each), default=0.0)
