"""A job that Ittybit says nothing usable about ends all the same, and says why it waits."""

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import select, update

from ittybatch.engine.polling import Polled, poll_overdue
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ledger import Ledger
from ittybatch.ledger.asking import problems_of
from ittybatch.ledger.control import cancel_batch
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.legs import begin_leg, begin_wait
from ittybatch.ledger.models import Attempt, Job, Run
from ittybatch.ledger.overdue import overdue_jobs
from ittybatch.ledger.states import JobState, Verdict
from ittybatch.ledger.submission import claim_due
from tests.engine.dispatching import dispatch
from tests.engine.doorway import Doorway
from tests.ledger import library
from tests.sandbox.harness import KEY, Running, wait_for

HALF_AN_EMOJI = b"\\ud83d"


def _poll(ledger: Ledger, url: str, silent_s: float = 0) -> Polled:
    async def ask() -> Polled:
        async with IttybitClient(KEY, base_url=url, attempts=1) as client:
            return await poll_overdue(ledger, client, silent_s=silent_s)

    return asyncio.run(ask())


def _sent(ledger: Ledger, url: str, *names: str) -> tuple[str, int]:
    batch = library.planned_batch(ledger, *(library.job(name, attempts=1) for name in names))
    chunk = library.released_chunk(ledger, batch)
    dispatch(ledger, url, chunk)
    return batch, chunk


def _let_deadlines_pass(ledger: Ledger) -> None:
    past = {"deadline_at": None, "polled_at": None, "not_before": None}

    def pass_by(tx: Any) -> None:  # noqa: ANN401
        values = {**past, "deadline_at": tx.now - timedelta(seconds=1)}
        tx.execute(update(Job).where(Job.deadline_at.is_not(None)).values(values))

    ledger.write(pass_by)


def _only(ledger: Ledger, name: str) -> Any:  # noqa: ANN401
    return ledger.read(lambda tx: tx.execute(select(getattr(Job, name))).scalar_one())


def _sleeps_for_s(tx: Any, owner: str) -> float:  # noqa: ANN401
    wake_at = tx.execute(select(Run.wake_at).where(Run.owner == owner)).scalar_one()
    return float((wake_at - tx.now).total_seconds())


def _answer_about_jobs(door: Doorway, status: int, body: bytes, *, of: str = "/jobs/") -> None:
    door.before = lambda method, path, _: (
        (status, body) if method == "GET" and path.startswith(of) else None
    )


def test_an_error_text_cut_inside_an_emoji_ends_its_job(
    ledger: Ledger, sandbox: Running, door: Doorway
) -> None:
    """JavaScript's `slice` leaves half of it, which JSON can say and Unicode cannot."""
    batch, _ = _sent(ledger, door.url, "a.mov")
    [there] = sandbox.all_jobs()
    failed = b'{"id":"%s","kind":"video","status":"failed","error":{"message":"bad %s"}}'
    _answer_about_jobs(door, 200, failed % (there["id"].encode(), HALF_AN_EMOJI))
    assert _poll(ledger, door.url).settled == 1
    [row] = library.rows(ledger, batch)
    assert (row.state, row.error_message) == (JobState.FAILED, "bad ?")


def test_an_answer_to_a_submission_is_read_as_tolerantly(
    ledger: Ledger, sandbox: Running, door: Doorway
) -> None:
    """Likewise lists, in which a lost answer is looked for."""

    def spoil(_method: str, _path: str, status: int, body: bytes) -> tuple[int, bytes]:
        spoilt = b'{"note":"%s NaN","x":NaN,' % HALF_AN_EMOJI
        return status, b"\xef\xbb\xbf" + body.replace(b"{", spoilt, 1)

    door.after = spoil
    batch, _ = _sent(ledger, door.url, "a.mov")
    assert library.rows(ledger, batch)[0].state is JobState.SUBMITTED
    wait_for(lambda: sandbox.all_jobs()[0]["status"] == "succeeded")
    ledger.write(lambda tx: tx.execute(update(Attempt).values(task_id=None, state="sending")))
    ledger.write(lambda tx: tx.execute(update(Job).values(task_id=None, state="submitting")))
    _let_deadlines_pass(ledger)
    assert _poll(ledger, door.url).settled == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b"{}"), (503, b"<html>busy</html>"), (200, b"<html>"), (200, b"{"), (400, b"{}")],
)
@pytest.mark.parametrize("cancelled", [False, True], ids=["running", "cancelled"])
def test_a_deadline_ends_a_job_that_cannot_be_asked_about(
    ledger: Ledger, door: Doorway, status: int, body: bytes, *, cancelled: bool
) -> None:
    """It is asked a few times more, then given up: it may still run, and be billed."""
    batch, chunk = _sent(ledger, door.url, "a.mov")
    if cancelled:
        ledger.write(cancel_batch, batch, "enough")
    _answer_about_jobs(door, status, body)
    asked = 0
    while library.rows(ledger, batch)[0].state is JobState.SUBMITTED:
        asked += 1
        assert asked <= 3, "it is asked for ever"
        _let_deadlines_pass(ledger)
        _poll(ledger, door.url)
    assert asked > 1, "one bad answer is no end"
    [row] = library.rows(ledger, batch)
    assert row.state is JobState.EXPIRED
    assert "may still run" in str(row.error_message)
    assert str(status) in str(row.error_message)
    place = library.place(ledger, chunk)
    assert (place.in_flight, place.expired) == (0, 1)


def test_a_service_that_is_away_is_given_longer(ledger: Ledger, door: Doorway) -> None:
    """Its silence says little of the job; but no job waits for ever."""
    batch, _ = _sent(ledger, door.url, "a.mov")
    _answer_about_jobs(door, 503, b"{}", of="/jobs")
    asked = 0
    while library.rows(ledger, batch)[0].state is JobState.SUBMITTED:
        asked += 1
        assert asked <= 8, "it is asked for ever"
        _let_deadlines_pass(ledger)
        _poll(ledger, door.url)
    assert asked > 3
    assert library.rows(ledger, batch)[0].state is JobState.EXPIRED


def test_between_questions_in_vain_the_leg_sleeps(ledger: Ledger, door: Doorway) -> None:
    """It does not ask each few seconds, holding its slot."""
    _, chunk = _sent(ledger, door.url, "a.mov")
    _answer_about_jobs(door, 500, b"{}")
    waits = []
    for _ in range(2):
        _let_deadlines_pass(ledger)
        _poll(ledger, door.url)
        leg = ledger.write(begin_leg, f"chunk:{chunk}", None, take_over=True)
        assert leg is not None
        ledger.write(begin_wait, leg)

        waits.append(ledger.read(_sleeps_for_s, leg.owner))
        assert ledger.read(overdue_jobs, silent_s=900, chunk=chunk) == []
    assert waits[0] > 10
    assert waits[1] > waits[0]


def test_status_says_why_a_job_is_still_waited_for(ledger: Ledger, door: Doorway) -> None:
    """How many jobs, how often, and the last problem; until an answer comes."""
    batch, _ = _sent(ledger, door.url, "a.mov", "b.mov")
    assert ledger.read(problems_of, batch) is None
    _answer_about_jobs(door, 500, b'{"message":"%s"}' % (b"x" * 5000))
    for _ in range(3):
        _poll(ledger, door.url)
    found = ledger.read(problems_of, batch)
    assert found is not None
    assert (found.jobs, found.requests) == (2, 3)
    assert "500" in found.message
    assert len(found.message) <= 500
    door.before = Doorway().before
    _poll(ledger, door.url)
    assert ledger.read(problems_of, batch) is None


def test_one_job_in_trouble_does_not_keep_the_others_from_being_asked_about(
    ledger: Ledger, door: Doorway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest silent is asked about first, and it is the one in trouble."""
    monkeypatch.setattr("ittybatch.engine.polling._GROUP", 2)
    batch, _ = _sent(ledger, door.url, *(f"{number}.mov" for number in range(5)))
    stuck = library.rows(ledger, batch)[0]
    _answer_about_jobs(door, 500, b"{}", of=f"/jobs/{stuck.task_id}")

    def all_but_one_ended() -> bool:
        done = _poll(ledger, door.url)
        assert done.asked <= 5, "each is asked about once a round"
        states = [row.state for row in library.rows(ledger, batch)]
        return states.count(JobState.SUCCEEDED) == 4

    wait_for(all_but_one_ended)


def test_what_ittybit_never_accepts_is_not_sent_for_ever(
    ledger: Ledger, sandbox: Running, door: Doorway
) -> None:
    """Each deadline it is looked for and sent again, a few deadlines long."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    chunk = library.released_chunk(ledger, batch)
    door.before = lambda method, *_: (500, b"{}") if method == "POST" else None
    assert dispatch(ledger, door.url, chunk).unknown == 1
    assert _only(ledger, "failed_requests") == 1
    _let_deadlines_pass(ledger)
    _poll(ledger, door.url)
    assert library.rows(ledger, batch)[0].state is JobState.PLANNED, "Ittybit does not have it"
    assert dispatch(ledger, door.url, chunk).unknown == 1
    long_ago = timedelta(days=30)
    ledger.write(lambda tx: tx.execute(update(Attempt).values(sent_at=tx.now - long_ago)))
    _let_deadlines_pass(ledger)
    _poll(ledger, door.url)
    [row] = library.rows(ledger, batch)
    assert row.state is JobState.EXPIRED
    assert "although it was sent again" in str(row.error_message)
    assert sandbox.all_jobs() == []


def test_what_nobody_sent_is_sent_however_late(
    ledger: Ledger, sandbox: Running, door: Doorway
) -> None:
    """A worker was away for days after a claim: Ittybit was never asked, and bills nothing."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    chunk = library.released_chunk(ledger, batch)
    ledger.write(claim_due, chunk, 1)
    long_ago = timedelta(days=30)
    ledger.write(lambda tx: tx.execute(update(Attempt).values(sent_at=tx.now - long_ago)))
    _let_deadlines_pass(ledger)
    _poll(ledger, door.url)
    assert library.rows(ledger, batch)[0].state is JobState.PLANNED
    assert dispatch(ledger, door.url, chunk).accepted == 1
    assert len(sandbox.all_jobs()) == 1


def test_a_new_attempt_begins_without_the_last_ones_problems(ledger: Ledger) -> None:
    """Neither its error nor its times are shown for the job that runs now."""
    chunk, [sent] = library.submitted(ledger, library.job("a.mov"))
    ledger.write(receive, [Arrival(b"{}", library.failed("task-0"))])
    [row] = library.rows(ledger, sent.batch_id)
    assert row.error_message == "preempted", "while it waits to be sent again"
    ledger.write(lambda tx: tx.execute(update(Job).values(not_before=None, failed_requests=3)))
    [again] = ledger.write(claim_due, chunk, 1)
    library.accept(ledger, [again], "again")
    [row] = library.rows(ledger, sent.batch_id)
    assert (row.state, row.error_kind, row.error_message) == (JobState.SUBMITTED, None, None)
    assert ledger.read(problems_of, sent.batch_id) is None


def test_a_job_never_ends_before_it_was_submitted(ledger: Ledger) -> None:
    """Ittybit's clock may be behind ours, and a job may end before its answer is recorded."""
    _, [sent] = library.submitted(ledger, library.job("a.mov"))
    ledger.write(receive, [Arrival(b"{}", library.remote("task-0"))])
    [row] = library.rows(ledger, sent.batch_id)
    assert row.completed_at is not None
    assert row.submitted_at is not None
    assert row.completed_at >= row.submitted_at


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "task-0", "status": "failed", "error": {"message": "cut he',
        b'{"event": "job.failed", "data": {"id": "task-0"},}',
        b'{"metadata": {"ittybatch_job_key": "%s"}, "status": "succeeded"}',
    ],
    ids=["cut short", "a comma too many", "without an id"],
)
def test_an_unreadable_webhook_of_a_known_job_has_it_asked_about(
    ledger: Ledger, body: bytes
) -> None:
    """What it says is not believed; that there is news of this job is."""
    chunk, [sent] = library.submitted(ledger, library.job("a.mov"))
    body = body.replace(b"%s", sent.job_key.encode())
    assert ledger.read(overdue_jobs, silent_s=900) == []
    assert ledger.write(receive, [Arrival(body, None)]) == [Verdict.MALFORMED]
    [asked] = ledger.read(overdue_jobs, silent_s=900, chunk=chunk)
    assert asked.task_id == "task-0"
    woken = select(Run.owner).where(Run.wake_at.is_not(None))
    assert ledger.read(lambda tx: tx.rows(woken)) == [(f"chunk:{chunk}",)]


def test_an_unreadable_webhook_of_nobody_changes_nothing(ledger: Ledger) -> None:
    """Nor does one of a job that has ended."""
    library.submitted(ledger, library.job("a.mov"))
    ledger.write(receive, [Arrival(orjson.dumps({"id": "task-0"}), library.remote("task-0"))])
    bodies = [b"", b"\xff", b'"id": "task-0"', b'"id": "task-9"', b'"id":"%s"' % (b"i" * 5000)]
    verdicts = ledger.write(receive, [Arrival(body, None) for body in bodies])
    assert set(verdicts) == {Verdict.MALFORMED}
    assert ledger.read(overdue_jobs, silent_s=0) == []
