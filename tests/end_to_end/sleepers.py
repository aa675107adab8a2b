"""A batch whose chunks are all asleep: sent, done at Ittybit, and nobody has told us.

Nothing goes on before the webhooks that were lost are sent again.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from ittybatch.ledger import Transaction
from ittybatch.ledger.identity import chunk_owner
from ittybatch.ledger.models import Chunk, Job, Run
from ittybatch.ledger.states import JobState, RunState
from tests.end_to_end import processes
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

_LOST = {"webhooks": {"lost": {"probability": 1}}}
# A leg is some seconds of CPU, Prefect's share of it included.
_A_CHUNK_S = 10.0


@dataclass(frozen=True, slots=True)
class Sleeper:
    """A chunk of one job that sleeps.

    Args:
        owner: The chunk, as its run's owner.
        flow_run: Its flow run.
        task_id: Its job at Ittybit.
    """

    owner: str
    flow_run: str
    task_id: str


@dataclass(frozen=True, slots=True)
class Sleeping:
    """A batch that sleeps."""

    batch: str
    chunks: Sequence[Sleeper]


def write_pictures(path: Path, count: int, *, prefix: str) -> dict[str, str]:
    """Write a manifest of so many pictures, one job each; gives it as a source."""
    options = json.dumps({"format": "webp", "width": 320})
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("input", "kind", "options"))
        rows.writerows((f"s3://library/{prefix}/{n}.png", "image", options) for n in range(count))
    return {"type": "manifest", "uri": str(path)}


def put_to_sleep(system: System, source: dict[str, str], chunks: int) -> Sleeping:
    """Begin a batch of so many chunks of one job, and wait until all of them are suspended.

    Args:
        system: The system, with an instant sandbox.
        source: So many jobs.
        chunks: How many.
    """
    with system.wire.faults(_LOST):
        batch = system.begin(source, chunk_size=1, max_active_chunks=chunks)
        until(
            lambda: len(system.ledger.read(_sleepers, batch)) == chunks,
            f"{chunks} chunks have sent what they have",
            within_s=60 + _A_CHUNK_S * chunks,
            every_s=0.5,
        )
        until_quiet(system, batch)
    return Sleeping(batch, system.ledger.read(_sleepers, batch))


def tell(system: System, chunks: Sequence[Sleeper]) -> None:
    """Send the webhooks of these chunks' jobs."""
    for chunk in chunks:
        system.wire.redeliver(chunk.task_id)


def until_quiet(system: System, batch: str) -> None:
    """Wait until no run of a batch has a reason to go on, and no process is left."""
    until(
        lambda: not system.ledger.read(_restless, batch) and not leg_processes(system),
        "everything sleeps",
        within_s=120,
        every_s=0.2,
    )


def leg_processes(system: System) -> list[int]:
    """The processes that work on flow runs."""
    return processes.descendants(system.stack.pid("worker"))


def _restless(transaction: Transaction, batch: str) -> bool:
    idle = {RunState.WAITING.value, RunState.ENDED.value}
    rows = transaction.rows(select(Run.state, Run.wake_at).where(Run.batch_id == batch))
    return any(
        row.state not in idle or (row.wake_at is not None and row.wake_at <= transaction.now)
        for row in rows
    )


def _sleepers(transaction: Transaction, batch: str) -> list[Sleeper]:
    chunks = transaction.rows(
        select(Chunk.id, Job.task_id)
        .join(Job, Job.chunk_id == Chunk.id)
        .where(Chunk.batch_id == batch, Job.state == JobState.SUBMITTED.value)
        .order_by(Chunk.id)
    )
    waiting = transaction.rows(
        select(Run.owner, Run.flow_run_id).where(
            Run.batch_id == batch, Run.state == RunState.WAITING.value
        )
    )
    flow_runs: dict[Any, str] = {row.owner: row.flow_run_id for row in waiting}
    owned = [(chunk_owner(row.id), row.task_id) for row in chunks]
    return [Sleeper(own, flow_runs[own], task) for own, task in owned if own in flow_runs]
