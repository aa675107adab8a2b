"""Batches through a whole system with an instant sandbox, and what they cost."""

import csv
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from bench.meter import Cost, Meter
from bench.whole import whole_system
from ittybatch.ledger import Transaction
from ittybatch.ledger.models import Run
from ittybatch.ledger.queries import batch_of_run
from ittybatch.ledger.states import BatchState, RunState
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

_LOOK_EVERY_S = 0.2
_WITHIN_S = 3600.0
_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Lane:
    """A running system that batches are sent through, one after another.

    Args:
        system: The system.
        folder: Where manifests are written.
    """

    def __init__(self, system: System, folder: Path) -> None:
        self.system = system
        self.meter = Meter(system.stack.home / "logs" / "prefect-server.log")
        self._folder = folder

    def batch(self, jobs: int, **options: int) -> tuple[str, Cost]:
        """Send a batch of so many pictures, one job each, through the stack.

        Returns:
            The batch's id, and what it cost from the order to the end of its flow run.

        Raises:
            RuntimeError: Not every job succeeded.
        """
        source = {"type": "manifest", "uri": str(self._manifest(jobs))}
        parameters = {"source": source, "profile": "web", "options": options}
        with self.meter.measuring(jobs) as cost:
            flow_run = self.system.prefect.run("run-batch/adhoc", parameters)
            batch = self._await_end(flow_run)
        status = self.system.status(batch)
        if status.state is not BatchState.SUCCEEDED or status.counts["succeeded"] != jobs:
            raise RuntimeError(f"Of {jobs} jobs, {status.counts} came of batch {batch}.")
        return batch, cost

    def _await_end(self, flow_run: str) -> str:
        """Ask the ledger, and Prefect only at the end: requests to it are counted."""
        ledger, prefect = self.system.ledger, self.system.prefect
        batch = until(
            lambda: ledger.read(batch_of_run, flow_run), "the batch has begun", within_s=_WITHIN_S
        )
        until(
            lambda: ledger.read(_has_ended, flow_run),
            f"batch {batch} has ended",
            within_s=_WITHIN_S,
            every_s=_LOOK_EVERY_S,
        )
        until(
            lambda: prefect.flow_run(flow_run)["state_type"] in _ENDED,
            f"Prefect's run of batch {batch} has ended",
            every_s=_LOOK_EVERY_S,
        )
        return batch

    def _manifest(self, jobs: int) -> Path:
        """A manifest of pictures that no batch has had before."""
        path = Path(tempfile.mkstemp(suffix=".csv", dir=self._folder)[1])
        options = json.dumps({"format": "webp", "width": 320})
        with path.open("w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream)
            rows.writerow(("input", "kind", "options"))
            rows.writerows(
                (f"s3://library/{path.stem}/{number:07}.png", "image", options)
                for number in range(jobs)
            )
        return path


def _has_ended(transaction: Transaction, flow_run: str) -> bool:
    state = transaction.execute(select(Run.state).where(Run.flow_run_id == flow_run)).scalar_one()
    return bool(state == RunState.ENDED.value)


@contextmanager
def running(ledger_url: str) -> Iterator[Lane]:
    """A stack with an instant sandbox, whose Prefect server logs each request that it answers."""
    with (
        whole_system(ledger_url, {"PREFECT_SERVER_LOGGING_LEVEL": "INFO"}) as system,
        tempfile.TemporaryDirectory() as folder,
    ):
        yield Lane(system, Path(folder))
