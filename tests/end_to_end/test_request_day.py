"""Requests of a day are one batch: it sleeps, it is woken for work alone, and it ends."""

import asyncio
import time
from collections.abc import Sequence

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from ittybatch.intake import intake as intake_module
from ittybatch.intake.intake import Intake, Taken, TaskSpec, Wanted
from ittybatch.intake.sender import Sender
from ittybatch.ledger import Transaction
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.models import Batch, Run
from ittybatch.ledger.states import BatchState, RunState
from ittybatch.profiles import Item
from ittybatch.settings import Settings
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until
from tests.ledger import library

pytestmark = pytest.mark.timeout(600)

_LEASE_S = 3.0


@pytest.fixture
def system(instant_system: System, monkeypatch: pytest.MonkeyPatch) -> System:
    """The system with an instant sandbox; a request's lease ends soon."""
    monkeypatch.setattr(intake_module, "LEASE_S", _LEASE_S)
    return instant_system


def _settings(system: System) -> Settings:
    environment = system.environment
    return Settings(
        database_url=SecretStr(environment["DATABASE_URL"]),
        api_key=SecretStr(environment["ITTYBIT_API_KEY"]),
        api_url=environment["ITTYBIT_API_URL"],
        webhook_url=environment["WEBHOOK_URL"],
        home=system.stack.home,
    )


def _wanted(*names: str) -> list[Wanted]:
    task = TaskSpec("image", {"width": 320})
    return [Wanted(Item(f"s3://requests/{name}.png"), tasks=[task]) for name in names]


def _take(system: System, wanted: Sequence[Wanted], *, within_s: float = 10) -> list[Taken]:
    async def work() -> list[Taken]:
        taker = Intake(system.ledger, _settings(system))
        await taker.start()
        try:
            return list(
                await asyncio.gather(*(taker.take(one, answer_within_s=within_s) for one in wanted))
            )
        finally:
            await taker.stop()

    return asyncio.run(work())


def _asleep(system: System, batch: str) -> bool:
    def read(transaction: Transaction) -> list[str]:
        rows = transaction.rows(select(Run.state).where(Run.batch_id == batch))
        return [row.state for row in rows]

    states = system.ledger.read(read)
    return len(states) >= 2 and set(states) == {RunState.WAITING.value}


def _end_the_day(system: System, batch: str) -> None:
    def shift(transaction: Transaction) -> None:
        now = transaction.now
        transaction.execute(update(Batch).where(Batch.id == batch).values(accepts_until=now))
        owner = batch_owner(batch)
        transaction.execute(update(Run).where(Run.owner == owner).values(wake_at=now))

    system.ledger.write(shift)


def test_a_day_of_requests(system: System) -> None:
    """Taken, done by webhooks without a leg, known to every command, and reported at its end."""
    # Other tests make requests, too: theirs are of an earlier day.
    system.ledger.write(library.end_of_day)
    taken = _take(system, _wanted("a", "b", "c"))
    batch = taken[0].batch_id
    assert all(each.jobs[0].task_id for each in taken)
    until(lambda: _asleep(system, batch), "both runs sleep")
    legs = {owner: leg for owner, (_, leg) in system.flow_runs(batch).items()}
    assert set(legs.values()) == {1}

    _take(system, _wanted("d", "e"))
    until(
        lambda: system.counted(batch) == {"succeeded": 5},
        "the webhooks have settled all jobs",
        within_s=30,
    )
    time.sleep(_LEASE_S + 3)
    assert {owner: leg for owner, (_, leg) in system.flow_runs(batch).items()} == legs
    assert system.status(batch).state is BatchState.RUNNING
    assert _asleep(system, batch)

    [again] = _take(system, _wanted("a"))
    assert (again.jobs[0].status, again.jobs[0].created) == ("succeeded", False)
    shown = system.told("status", batch, "--json")
    assert shown["counts"]["succeeded"] == 5
    assert "requests of" in system.command("status", batch).stdout

    _end_the_day(system, batch)
    status = system.await_end(batch)
    assert status.state is BatchState.SUCCEEDED
    assert system.outcome(batch) == "Completed"
    report = system.told("report", batch, "--format", "json")
    assert report["counts"]["succeeded"] == 5
    [chunk] = [run for owner, run in system.flow_runs(batch).items() if "chunk" in owner]
    state = system.prefect.flow_run(chunk[0])["state_name"]
    assert state == "Completed"


def test_a_leg_sends_what_a_dead_receiver_has_taken(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died right after the commit: the end of its lease wakes the chunk's run."""
    monkeypatch.setattr(Sender, "send", lambda *_: None)
    taken = _take(system, _wanted("lost-1", "lost-2"), within_s=0)
    batch = taken[0].batch_id
    ids = {int(each.jobs[0].job_id) for each in taken}
    until(
        lambda: {job.state.value for job in system.jobs(batch) if job.id in ids} == {"succeeded"},
        "a leg has sent them",
    )
    until(lambda: _asleep(system, batch), "the chunk's run sleeps again")
    sent = [job for job in system.wire.jobs(batch) if "lost-" in job["input"]]
    assert len(sent) == 2
    assert all(job["created_by_key"] == 1 for job in sent)
    _end_the_day(system, batch)
    system.await_end(batch)


def test_failures_are_retried_held_back_and_released_like_any_others(system: System) -> None:
    """By the chunk's legs, `retry` and `quarantine`, while the batch takes requests."""
    failing = {
        "match": {"input": "*broken*"},
        "action": "fail_always",
        "error": {"kind": "invalid_input", "message": "no such codec"},
    }
    once = {"match": {"input": "*flaky*"}, "action": "fail_once"}
    with system.wire.faults({"jobs": [failing, once]}):
        taken = _take(system, _wanted("broken", "flaky", "well"))
        batch = taken[0].batch_id
        until(lambda: system.counted(batch)["failed"] == 1, "one has failed for good")
    assert "no such codec" in system.command("failures", batch).stdout
    [held] = system.told("quarantine", "list", "--batch", batch, "--json")
    assert held["input"].endswith("broken.png")
    [answer] = _take(system, _wanted("broken"))
    assert (answer.jobs[0].status, answer.jobs[0].created) == ("failed", False)

    until(lambda: _asleep(system, batch), "both runs sleep")
    system.end_backoffs(batch)
    until(lambda: system.counted(batch)["succeeded"] == 2, "a leg has sent the retry")

    done = system.command("retry", batch, "--follow")
    assert done.returncode == 0, done.stdout + done.stderr
    [answer] = _take(system, _wanted("broken"))
    assert answer.jobs[0].status == "succeeded"
    _end_the_day(system, batch)
    assert system.await_end(batch).state is BatchState.SOME_FAILED


def test_nobody_starts_a_run_of_requests_by_hand(system: System) -> None:
    """The run fails with the reason, and nothing is opened."""
    before = {each.id for each in system.recent()}
    parameters = {
        "source": {"type": "requests", "day": "2026-11-27", "digest": "x"},
        "profile": "web",
        "options": {},
    }
    run = system.prefect.run("run-batch/adhoc", parameters)

    def ended() -> str | None:
        state = system.prefect.flow_run(run)
        return str(state["state"]["message"]) if state["state_type"] == "FAILED" else None

    message = until(ended, "the run has failed")
    assert "cannot be started by hand" in message
    assert {each.id for each in system.recent()} == before
