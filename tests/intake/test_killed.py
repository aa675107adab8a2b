"""The receiver is killed between any two lines: nothing is lost, and nothing is made twice."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import update

from ittybatch.engine.dispatch import Dispatcher
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.counters import recount
from ittybatch.ledger.models import Job, Run
from ittybatch.ledger.runs import unbound_runs
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import JobState
from ittybatch.ledger.sweep import find_broken
from ittybatch.settings import Settings
from tests.intake import harness
from tests.intake.dying import Moment
from tests.intake.harness import by_profile, take
from tests.ledger import library
from tests.ledger.whole import accepted_attempts
from tests.sandbox.harness import KEY, Running

_NOT_TAKEN = {Moment.BEFORE_COMMIT, Moment.DURING_COMMIT}


def _killed(moment: Moment, ledger_url: str, sandbox: Running, folder: Path) -> None:
    """Let an intake in a process of its own take a request, and die of it."""
    environment = {
        **os.environ,
        "DATABASE_URL": ledger_url,
        "ITTYBIT_API_KEY": KEY,
        "ITTYBIT_API_URL": sandbox.url,
        "ITTYBATCH_HOME": str(folder / "home"),
        "ITTYBATCH_PROFILES_DIR": str(folder / "profiles"),
    }
    command = [sys.executable, "-m", "tests.intake.dying", moment]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -9, done.stderr
    assert done.stdout == "", "nobody was answered"


def _legs_finish_it(ledger: Ledger, sandbox: Running) -> None:
    """The leases end, and a leg of each chunk does what is left; then webhooks come."""

    def lease_ends(tx: Transaction) -> None:
        tx.execute(update(Job).where(Job.not_before.is_not(None)).values(not_before=tx.now))

    ledger.write(lease_ends)

    async def leg() -> None:
        async with IttybitClient(KEY, base_url=sandbox.url) as client:
            for chunk in harness.chunks(ledger):
                await Dispatcher(ledger, client, chunk.id).run()

    asyncio.run(leg())
    jobs = harness.jobs(ledger)
    assert {job.state for job in jobs} <= {JobState.SUBMITTED}
    ledger.write(settle, [library.remote(job.task_id) for job in jobs])


@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.name.lower())
def test_a_request_during_which_the_receiver_dies_is_taken_once(  # noqa: PLR0917  fixtures
    ledger_url: str,
    ledger: Ledger,
    sandbox: Running,
    settings: Settings,
    tmp_path: Path,
    moment: Moment,
) -> None:
    """Its caller repeats it at once, before or after anything else happens."""
    _killed(moment, ledger_url, sandbox, tmp_path)
    assert len(harness.jobs(ledger)) == (0 if moment in _NOT_TAKEN else 3)
    if moment not in _NOT_TAKEN:
        assert ledger.read(find_broken, 60.0) == []
        assert {run.owner.partition(":")[0] for run in ledger.read(unbound_runs, 0)} == {
            "batch",
            "chunk",
        }
    repeated = by_profile("a.mov", idempotency_key="mine", body_digest="body")
    [taken] = take(ledger, settings, repeated, answer_within_s=0.3)
    assert [job.created for job in taken.jobs] == [True] * 3
    assert len(harness.jobs(ledger)) == 3
    _legs_finish_it(ledger, sandbox)
    [again] = take(ledger, settings, repeated)
    assert [job.job_id for job in again.jobs] == [job.job_id for job in taken.jobs]
    assert {job.status for job in again.jobs} == {"succeeded"}
    seen = harness.sandbox_jobs(sandbox)
    assert len(seen) == 3
    assert all(job["created_by_key"] == 1 for job in seen)
    ours = {job["idempotency_key"]: job["id"] for job in seen}
    assert ours == ledger.read(accepted_attempts, taken.batch_id)
    assert ledger.write(recount, taken.batch_id) == []


def test_a_request_of_a_dead_receiver_is_sent_by_the_leg_that_its_lease_wakes(
    ledger_url: str, ledger: Ledger, sandbox: Running, settings: Settings, tmp_path: Path
) -> None:
    """Nobody repeats the request: its chunk's run has the time to wake at."""
    del settings
    _killed(Moment.AFTER_COMMIT, ledger_url, sandbox, tmp_path)
    chunk = harness.chunks(ledger)[0]
    [run] = [run for run in harness.runs(ledger) if run.owner == f"chunk:{chunk.id}"]
    assert run.wake_at == harness.jobs(ledger)[0].not_before
    assert not ledger.write(finish_chunk, chunk.id)
    _legs_finish_it(ledger, sandbox)
    assert len(harness.sandbox_jobs(sandbox)) == 3
    assert ledger.read(lambda tx: len(tx.rows(Run.__table__.select()))) == 2
