"""A local stack with an instant sandbox, and what the batches that go through it cost."""

import csv
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from bench.meter import Cost, Meter
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.ledger.queries import BatchStatus, batch_of_run, batch_status
from ittybatch.ledger.states import BatchState
from ittybatch.settings import Settings
from ittybatch.stack import LocalStack

_FOREIGN = ("ITTYBIT_", "ITTYBATCH_", "PREFECT_", "AWS_", "DATABASE_URL", "WEBHOOK_URL", "PORT")
_LOOK_EVERY_S = 0.2
_WITHIN_S = 3600.0
_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
# The server then logs each request that it answers.
_COUNTING = 'active = "bench"\n\n[profiles.bench]\nPREFECT_SERVER_LOGGING_LEVEL = "INFO"\n'


class System:
    """A running stack.

    Args:
        stack: The stack, started.
        folder: Where manifests are written.
    """

    def __init__(self, stack: LocalStack, folder: Path) -> None:
        self.environment = stack.process_environment()
        self.folder = folder
        self.meter = Meter(stack.home / "logs" / "prefect-server.log")
        own = Settings(
            database_url=SecretStr(self.environment["DATABASE_URL"]), home=stack.home
        )
        self.ledger: Ledger = open_ledger(own)
        self._prefect = httpx.Client(
            base_url=self.environment["PREFECT_API_URL"], timeout=60, trust_env=False
        )

    def close(self) -> None:
        """Give back every connection."""
        self.ledger.close()
        self._prefect.close()

    def batch(self, jobs: int, **options: int) -> tuple[str, Cost]:
        """Send a batch of so many pictures, one job each, through the stack.

        Returns:
            The batch's id, and what it cost from the order to the end of its flow run.

        Raises:
            RuntimeError: Not every job succeeded.
        """
        source = {"type": "manifest", "uri": str(self._manifest(jobs))}
        parameters = {"source": source, "profile": "web", "options": options}
        deployment = self._ask("GET", "/deployments/name/run-batch/adhoc")["id"]
        with self.meter.measuring(jobs) as cost:
            flow_run = self._ask(
                "POST", f"/deployments/{deployment}/create_flow_run", {"parameters": parameters}
            )["id"]
            batch, status = self._await_end(flow_run)
        if status.state is not BatchState.SUCCEEDED or status.counts["succeeded"] != jobs:
            raise RuntimeError(f"Of {jobs} jobs, {status.counts} came of batch {batch}.")
        return batch, cost.value

    def _await_end(self, flow_run: str) -> tuple[str, BatchStatus]:
        """Look at the ledger, so that nobody's requests to Prefect are counted but the batch's."""
        deadline = time.monotonic() + _WITHIN_S
        while time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
            batch = self.ledger.read(batch_of_run, flow_run)
            if batch is None or not self.ledger.read(_has_ended, batch):
                continue
            if self._ask("GET", f"/flow_runs/{flow_run}")["state_type"] in _ENDED:
                return batch, self.ledger.read(batch_status, batch)
        raise IttybatchError(f"Flow run {flow_run} has not ended within {_WITHIN_S:g} s.")

    def _manifest(self, jobs: int) -> Path:
        """A manifest of pictures that no batch has had before."""
        path = Path(tempfile.mkstemp(suffix=".csv", dir=self.folder)[1])
        options = json.dumps({"format": "webp", "width": 320})
        with path.open("w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream)
            rows.writerow(("input", "kind", "options"))
            rows.writerows(
                (f"s3://library/{path.stem}/{number:07}.png", "image", options)
                for number in range(jobs)
            )
        return path

    def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  JSON
        return self._prefect.request(method, path, json=body).raise_for_status().json()
