"""One running system: the command line, the ledger, Prefect and the other side of the wire."""

import json
import subprocess
import sys
from collections import Counter
from typing import Any

from pydantic import SecretStr
from sqlalchemy import select, update

from ittybatch.ledger import Transaction, open_ledger
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.models import Chunk, Job, Run
from ittybatch.ledger.queries import (
    BatchStatus,
    accepted_attempts,
    batch_of_run,
    batch_status,
    recent_batches,
)
from ittybatch.ledger.results import JobRow, all_job_rows
from ittybatch.settings import Settings
from ittybatch_local import LocalStack
from tests.end_to_end.prefect_api import PrefectApi
from tests.end_to_end.waiting import until
from tests.end_to_end.wire import Wire

_PROGRAM = (sys.executable, "-m", "ittybatch")
_COMMAND_WITHIN_S = 120
_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class System:
    """A running stack, seen from all its sides.

    Args:
        stack: The stack, started.
    """

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.environment = stack.environment()
        self.ledger = open_ledger(
            Settings(database_url=SecretStr(self.environment["DATABASE_URL"]), home=stack.home)
        )
        self.prefect = PrefectApi(
            self.environment["PREFECT_API_URL"], self.environment["PREFECT_API_AUTH_STRING"]
        )
        self.wire = Wire(self.environment["ITTYBIT_API_URL"])

    def close(self) -> None:
        """Give back every connection."""
        self.ledger.close()
        self.prefect.close()
        self.wire.close()

    def start(self, *arguments: str, program: tuple[str, ...] = _PROGRAM) -> subprocess.Popen[str]:
        """Start a command, with its output on pipes."""
        return subprocess.Popen(
            [*program, *arguments],
            env=self.stack.process_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*_PROGRAM, *arguments],
            env={**self.stack.process_environment(), **settings},
            capture_output=True,
            text=True,
            timeout=_COMMAND_WITHIN_S,
            check=False,
        )

    def told(self, *arguments: str, **settings: str) -> Any:  # noqa: ANN401  JSON
        """What a command tells a program."""
        done = self.command(*arguments, **settings)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def begin(self, source: dict[str, str], **options: int) -> str:
        """Start a batch as a schedule or Prefect's pages do, and give its id once it has one."""
        parameters = {"source": source, "profile": "web", "options": options}
        flow_run = self.prefect.run("run-batch/adhoc", parameters)
        return until(
            lambda: self.ledger.read(batch_of_run, flow_run), "the flow run has begun a batch"
        )

    def status(self, batch: str) -> BatchStatus:
        """A batch in numbers."""
        return self.ledger.read(batch_status, batch)

    def recent(self) -> list[BatchStatus]:
        """The newest batches."""
        return list(self.ledger.read(recent_batches))

    def newest(self, source: str) -> str:
        """The id of the newest batch over a source, given by its URI or a batch's id."""
        batches = self.ledger.read(recent_batches, idle=True)
        ids = [
            each.id
            for each in batches
            if source in {each.source.get(of) for of in ("uri", "batch")}
        ]
        assert ids, f"no batch over {source} among {len(batches)}"
        return ids[0]

    def jobs(self, batch: str) -> list[JobRow]:
        """A batch's jobs."""
        return list(all_job_rows(self.ledger, batch))

    def counted(self, batch: str) -> Counter[str]:
        """A batch's jobs by state, counted from their rows."""
        return Counter(job.state.value for job in self.jobs(batch))

    def await_end(self, batch: str, *, within_s: float = 120.0) -> BatchStatus:
        """Wait until a batch, and Prefect's run of it, have ended."""

        def ended() -> BatchStatus | None:
            status = self.status(batch)
            if not status.state.ended or status.counts["in_flight"] or not status.flow_run_id:
                return None
            state = self.prefect.flow_run(status.flow_run_id)["state_type"]
            return status if state in _ENDED else None

        return until(ended, f"batch {batch} has ended", within_s=within_s, every_s=0.3)

    def end_backoffs(self, batch: str) -> None:
        """Have a batch's retries due now, and not half a minute after the failure."""

        def shift(transaction: Transaction) -> None:
            chunks = select(Chunk.id).where(Chunk.batch_id == batch)
            backing_off = Job.chunk_id.in_(chunks) & Job.not_before.is_not(None)
            transaction.execute(update(Job).where(backing_off).values(not_before=transaction.now))
            of_chunks = (Run.batch_id == batch) & Run.owner.startswith("chunk:")
            transaction.execute(update(Run).where(of_chunks).values(wake_at=transaction.now))

        self.ledger.write(shift)

    def flow_runs(self, batch: str) -> dict[str, tuple[str, int]]:
        """The flow run and the number of legs of a batch and of its chunks, by owner."""

        def read(transaction: Transaction) -> dict[str, tuple[str, int]]:
            rows = transaction.rows(
                select(Run.owner, Run.flow_run_id, Run.leg).where(Run.batch_id == batch)
            )
            return {row.owner: (row.flow_run_id, row.leg) for row in rows}

        return self.ledger.read(read)

    def outcome(self, batch: str) -> str:
        """The name of the state in which Prefect's run of a batch ended."""
        flow_run, _ = self.flow_runs(batch)[batch_owner(batch)]
        return str(self.prefect.flow_run(flow_run)["state_name"])

    def attempts(self, batch: str) -> dict[str, str | None]:
        """What the ledger says was sent: Ittybit's id of each attempt by Idempotency-Key."""
        return self.ledger.read(accepted_attempts, batch)

    def assert_both_sides_agree(self, batch: str) -> None:
        """Ittybit has exactly the jobs that the ledger holds, each once."""
        ours = self.attempts(batch)
        theirs = self.wire.jobs(batch)
        assert {job["idempotency_key"]: job["id"] for job in theirs} == ours
        assert len(theirs) == len(ours)
        assert {job["created_by_key"] for job in theirs} <= {1}
