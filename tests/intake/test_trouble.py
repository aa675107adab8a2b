"""Ittybit is slow, down, or refuses: nothing is lost, nothing is made twice."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from ittybatch.engine import connection
from ittybatch.engine.dispatch import Dispatched, Dispatcher
from ittybatch.engine.options import RunOptions
from ittybatch.intake import sender
from ittybatch.intake.brakes import brake_all
from ittybatch.intake.intake import Intake, Taken
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.errors import InvalidRequest
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.control import hold_batch, resume_batch
from ittybatch.ledger.counters import recount
from ittybatch.ledger.database import LedgerUnavailable, create_ledger_engine
from ittybatch.ledger.models import Batch, Job
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState, JobState
from ittybatch.settings import Settings
from tests.engine.doorway import doorway
from tests.intake import harness
from tests.intake.harness import by_kind, take
from tests.ledger import library
from tests.ledger.whole import accepted_attempts
from tests.sandbox.harness import KEY, Running, running


@contextmanager
def _troubled(**api: object) -> Iterator[Running]:
    with running(instant=True, faults={"seed": 3, "api": api}) as sandbox:
        yield sandbox


def _leg(ledger: Ledger, url: str) -> Dispatched:
    """After the leases have ended, let a leg of each chunk send what is left."""

    def shift(tx: Transaction) -> None:
        tx.execute(update(Job).values(not_before=None))
        tx.execute(update(Batch).values(closed_until=None))

    ledger.write(shift)

    async def run() -> Dispatched:
        async with IttybitClient(KEY, base_url=url, retry_wait_initial_s=0.01) as client:
            for chunk in harness.chunks(ledger):
                done = await Dispatcher(ledger, client, chunk.id).run()
        return done

    return asyncio.run(run())


def _everything_is_there_once(ledger: Ledger, sandbox: Running, jobs: int) -> None:
    """Both sides of the wire name the same keys and ids."""
    seen = harness.sandbox_jobs(sandbox)
    assert all(job["created_by_key"] == 1 for job in seen)
    ours = {job["idempotency_key"]: job["id"] for job in seen}
    known: dict[str, str | None] = {}
    for batch in harness.batches(ledger):
        known |= ledger.read(accepted_attempts, batch.id)
        assert ledger.write(recount, batch.id) == []
    assert ours == known
    assert len(ours) == jobs


def test_an_answer_that_takes_too_long_is_not_waited_for(ledger: Ledger, tmp_path: Path) -> None:
    """The caller has an answer in time, and the id is in the ledger a moment later."""
    with _troubled(slow={"probability": 1, "seconds": 1.5}) as sandbox:
        settings = harness.settings_of(tmp_path, sandbox.url)

        async def work(intake: Intake) -> tuple[Taken, float]:
            loop = asyncio.get_running_loop()
            before = loop.time()
            taken = await intake.take(by_kind("a.mov"))
            return taken, loop.time() - before

        taken, took_s = harness.run(ledger, settings, work)
        assert taken.jobs[0].task_id is None
        assert taken.jobs[0].status == "processing"
        assert took_s < 1.2
        [job] = harness.jobs(ledger)
        assert job.task_id is not None
        _everything_is_there_once(ledger, sandbox, 1)


def test_lost_answers_do_not_double_jobs(ledger: Ledger, tmp_path: Path) -> None:
    """Connections cut after acceptance, 503s and 429s: each job is made once all the same."""
    troubles = {
        "cut_after_accept": {"probability": 0.2},
        "server_error": {"probability": 0.2},
        "rate_limited": {"probability": 0.2, "retry_after_s": 0.05},
    }
    with _troubled(**troubles) as sandbox:
        settings = harness.settings_of(tmp_path, sandbox.url)
        take(ledger, settings, *(by_kind(f"{number}.mov") for number in range(60)))
        sandbox.client.post("/_sandbox/faults", json={})
        _leg(ledger, sandbox.url)
        _everything_is_there_once(ledger, sandbox, 60)


def test_a_service_that_is_down_opens_the_circuit(ledger: Ledger, tmp_path: Path) -> None:
    """Later requests are taken, and left to a leg, which probes and sends them."""
    with _troubled(server_error={"probability": 1}) as sandbox:
        settings = harness.settings_of(tmp_path, sandbox.url)

        async def work(intake: Intake) -> Taken:
            await asyncio.gather(
                *(intake.take(by_kind(f"{n}.mov"), answer_within_s=20) for n in range(25))
            )
            return await intake.take(by_kind("late.mov"), answer_within_s=20)

        taken = harness.run(ledger, settings, work)
        assert (taken.jobs[0].task_id, taken.jobs[0].status) == (None, "processing")
        [batch] = harness.batches(ledger)
        assert (batch.state, batch.trips) == (BatchState.RUNNING, 1)
        assert harness.jobs(ledger)[-1].state == JobState.PLANNED
        sandbox.client.post("/_sandbox/faults", json={})
        assert _leg(ledger, sandbox.url).accepted == 26
        assert harness.batches(ledger)[0].trips == 0
        _everything_is_there_once(ledger, sandbox, 26)


def test_a_rate_limit_of_ittybits_is_waited_out_by_a_leg(ledger: Ledger, tmp_path: Path) -> None:
    """The caller is not kept waiting for it."""
    with _troubled(rate_limited={"probability": 1, "retry_after_s": 1}) as sandbox:
        settings = harness.settings_of(tmp_path, sandbox.url)
        [taken] = take(ledger, settings, by_kind("a.mov"), answer_within_s=0.5)
        assert taken.jobs[0].task_id is None
        [job] = harness.jobs(ledger)
        assert (job.state, job.attempt) == (JobState.PLANNED, 0)
        sandbox.client.post("/_sandbox/faults", json={})
        _leg(ledger, sandbox.url)
        _everything_is_there_once(ledger, sandbox, 1)


def test_a_paused_batch_repeats_no_request(
    ledger: Ledger, sandbox: Running, tmp_path: Path
) -> None:
    """Ittybit is busy, and somebody pauses the batch before the request is sent again."""
    with doorway(sandbox.url) as door:

        def busy(method: str, _path: str, _body: bytes) -> tuple[int, bytes]:
            if method == "POST":
                [batch] = harness.batches(ledger)
                ledger.write(hold_batch, batch.id, "Enough.")
            return 429, b'{"error": {"kind": "rate_limited", "message": "slow down"}}'

        door.before = busy
        take(ledger, harness.settings_of(tmp_path, door.url), by_kind("a.mov"))
    assert [method for method, _ in door.requests] == ["POST"]
    [job] = harness.jobs(ledger)
    assert (job.state, job.attempt) == (JobState.PLANNED, 0)


def test_a_key_that_ittybit_refuses_holds_the_batch(
    ledger: Ledger, sandbox: Running, tmp_path: Path
) -> None:
    """The requests are kept; after a resume with the right key, a leg sends them."""
    settings = harness.settings_of(tmp_path, sandbox.url, ITTYBIT_API_KEY="another-key")
    [taken] = take(ledger, settings, by_kind("a.mov"))
    assert taken.jobs[0].task_id is None
    [batch] = harness.batches(ledger)
    assert batch.state == BatchState.HELD
    [later] = take(ledger, settings, by_kind("b.mov"))
    assert later.jobs[0].status == "held"
    assert "another-key" not in batch.reason
    ledger.write(resume_batch, batch.id)
    assert _leg(ledger, sandbox.url).accepted == 2
    _everything_is_there_once(ledger, sandbox, 2)


def test_what_ittybit_refuses_is_answered_with_the_reason(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has failed for good: the next request for it is told so, too."""

    async def refuse(*_: object, **__: object) -> None:
        raise InvalidRequest("The input cannot be used.", status=422)

    monkeypatch.setattr(IttybitClient, "create_job", refuse)
    with running(instant=True) as sandbox:
        settings = harness.settings_of(tmp_path, sandbox.url)
        for created in (True, False):
            [taken] = take(ledger, settings, by_kind("a.mov"))
            [job] = taken.jobs
            assert (job.status, job.created, job.task_id) == ("failed", created, None)
            assert job.error is not None
            assert "cannot be used" in job.error


def test_without_an_api_key_requests_wait_for_a_leg(
    ledger: Ledger, sandbox: Running, tmp_path: Path
) -> None:
    """A receiver may have no key: then it only takes them."""
    settings = harness.settings_of(tmp_path, sandbox.url, ITTYBIT_API_KEY=None)
    [taken] = take(ledger, settings, by_kind("a.mov"))
    assert (taken.jobs[0].task_id, taken.jobs[0].status) == (None, "processing")
    assert harness.jobs(ledger)[0].state == JobState.PLANNED
    assert _leg(ledger, sandbox.url).accepted == 1


def test_the_same_failure_again_and_again_holds_the_batch(
    ledger: Ledger, settings: Settings
) -> None:
    """The receiver checks, because the legs of these chunks sleep."""
    taken = take(ledger, settings, *(by_kind(f"{number}.mov") for number in range(30)))
    tasks = [each.jobs[0].task_id or "" for each in taken]
    assert brake_all(ledger) == []
    bad = [library.failed(task, "invalid_input", "no such codec") for task in tasks]
    ledger.write(settle, bad)
    assert brake_all(ledger) == [taken[0].batch_id]
    assert harness.batches(ledger)[0].state == BatchState.HELD
    [after] = take(ledger, settings, by_kind("after.mov"))
    assert after.jobs[0].status == "held"


def test_the_ceiling_of_a_profile_is_kept(
    ledger: Ledger, settings: Settings, sandbox: Running
) -> None:
    """What is above it is taken and not sent."""
    options = {"requests": RunOptions(max_submissions=3)}
    wanted = [by_kind(f"{number}.mov") for number in range(5)]
    taken = take(ledger, settings, *wanted, options=options)
    statuses = sorted(each.jobs[0].status for each in taken)
    assert statuses == ["held", "held", "processing", "processing", "processing"]
    assert len(harness.sandbox_jobs(sandbox)) == 3


def test_a_ledger_that_is_gone_takes_nothing_and_says_so(
    settings: Settings, tmp_path: Path
) -> None:
    """Every waiting caller is told at once, and the next request may succeed."""
    url = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    gone = Ledger(create_ledger_engine(url), patience_s=0.2)

    async def work(intake: Intake) -> list[object]:
        return await asyncio.gather(
            *(intake.take(by_kind(f"{number}.mov")) for number in range(5)),
            return_exceptions=True,
        )

    answers = harness.run(gone, settings, work)
    assert all(isinstance(answer, LedgerUnavailable) for answer in answers)
    gone.close()
    del tmp_path


def test_recording_survives_a_short_outage(
    ledger: Ledger, settings: Settings, sandbox: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers are kept in the process, and recorded a second later."""
    recorded = sender._record
    failures = iter([True])

    def record(transaction: Transaction, group: sender._Group) -> None:
        if next(failures, False):
            raise LedgerUnavailable("It restarts.")
        recorded(transaction, group)

    monkeypatch.setattr(sender, "_record", record)
    [taken] = take(ledger, settings, by_kind("a.mov"))
    assert taken.jobs[0].task_id is not None
    _everything_is_there_once(ledger, sandbox, 1)


def test_a_long_wait_ends_with_the_lease(ledger: Ledger, settings: Settings) -> None:
    """The lease is longer than all that the sender does with a claim."""
    tries_s = connection._QUICK_ATTEMPTS * connection._QUICK_TIMEOUT_S
    waits_s = (connection._QUICK_ATTEMPTS - 1) * connection._QUICK_MAX_WAIT_S
    assert sender._SEND_WITHIN_S + tries_s + waits_s < sender.LEASE_S
    take(ledger, settings, by_kind("a.mov"))
    [job] = harness.jobs(ledger)
    assert job.not_before is None
    assert job.deadline_at - job.submitted_at > timedelta(hours=5)


def test_what_a_stopping_receiver_did_not_send_a_leg_sends_at_once(
    ledger: Ledger, tmp_path: Path, sandbox: Running
) -> None:
    """Not when its lease would have ended, a minute later."""
    slowly = harness.settings_of(tmp_path, sandbox.url, submit_rate_per_s=0.1)
    wanted = [by_kind(f"{number}.mov") for number in range(3)]
    take(ledger, slowly, *wanted, answer_within_s=0)
    states = [job.state for job in harness.jobs(ledger)]
    assert set(states) == {JobState.SUBMITTED, JobState.PLANNED}
    [leg] = [run for run in harness.runs(ledger) if run.owner.startswith("chunk:")]
    assert leg.wake_at <= datetime.now(UTC)
    assert _leg(ledger, sandbox.url).accepted == states.count(JobState.PLANNED)


def test_whoever_delivers_results_hears_of_recorded_answers(
    ledger: Ledger, settings: Settings
) -> None:
    """So that sinks are told of accepted jobs at once."""
    recorded: list[list[str | None]] = []

    def note() -> None:
        recorded.append([job.task_id for job in harness.jobs(ledger)])

    async def main() -> None:
        intake = Intake(ledger, settings, on_recorded=note)
        await intake.start()
        await intake.take(by_kind("a.mov"), answer_within_s=10)
        await intake.stop()

    asyncio.run(main())
    assert [[task is not None for task in tasks] for tasks in recorded] == [[True]]
