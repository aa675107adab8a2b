"""A refused repeat says nothing about the first request: that one may have been accepted."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.control import resume_batch
from ittybatch.ledger.models import Attempt, Batch, Job
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState, JobState, Verdict
from ittybatch.ledger.submission import Refused, record_refused
from tests.engine.dispatching import dispatch
from tests.engine.doorway import Doorway
from tests.ledger import library
from tests.sandbox.harness import Running


def _later(ledger: Ledger, seconds: float) -> None:
    """Let time pass since everything was sent, and let everything be due."""

    def age(tx: Any) -> None:  # noqa: ANN401
        tx.execute(update(Attempt).values(sent_at=tx.now - timedelta(seconds=seconds)))
        tx.execute(update(Job).values(not_before=None))
        tx.execute(update(Batch).values(trips=0, closed_until=None))

    ledger.write(age)


def _lose_answers_to_submissions(door: Doorway) -> None:
    door.after = lambda method, _path, status, body: None if method == "POST" else (status, body)


def _refuse_submissions(door: Doorway, status: int, kind: str = "invalid_input") -> None:
    answer = (status, b'{"kind":"%s","message":"options.codec is not known"}' % kind.encode())
    door.before = lambda method, *_: answer if method == "POST" else None


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_an_accepted_job_is_found_when_its_repeat_is_refused(
    ledger: Ledger, sandbox: Running, door: Doorway, status: int
) -> None:
    """Its first answer was lost, then a setting changed its body."""
    batch, chunk = library.planned_chunk(ledger, "a.mov")
    _lose_answers_to_submissions(door)
    assert dispatch(ledger, door.url, chunk).unknown == 1
    [there] = sandbox.all_jobs()
    _later(ledger, 3600)
    _refuse_submissions(door, status)
    done = dispatch(ledger, door.url, chunk)
    assert (done.accepted, done.refused) == (1, 0)
    [row] = library.rows(ledger, batch)
    assert (row.state, row.task_id) == (JobState.SUBMITTED, there["id"])


def test_a_refused_repeat_of_what_never_arrived_is_refused_once_that_is_sure(
    ledger: Ledger, sandbox: Running, door: Doorway
) -> None:
    """For a minute the first request may still be on its way."""
    batch, chunk = library.planned_chunk(ledger, "a.mov")
    door.before = lambda method, *_: (503, b"{}") if method == "POST" else None
    assert dispatch(ledger, door.url, chunk).unknown == 1
    _refuse_submissions(door, 400)
    _later(ledger, 5)
    assert dispatch(ledger, door.url, chunk).unknown == 1, "it may be on its way"
    _later(ledger, 3600)
    assert dispatch(ledger, door.url, chunk).refused == 1
    [row] = library.rows(ledger, batch)
    assert row.state is JobState.FAILED
    assert "options.codec" in str(row.error_message)
    assert sandbox.all_jobs() == []


@pytest.mark.usefixtures("no_look_before")
@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_a_look_that_fails_refuses_nothing(
    ledger: Ledger, sandbox: Running, door: Doorway, status: int
) -> None:
    """Whatever the list answers: it was asked, not sent anything."""
    batch, chunk = library.planned_chunk(ledger, "a.mov")
    _lose_answers_to_submissions(door)
    dispatch(ledger, door.url, chunk)
    _later(ledger, 3600)
    door.before = lambda method, *_: (400 if method == "POST" else status, b"{}")
    done = dispatch(ledger, door.url, chunk)
    assert (done.refused, done.unknown) == (0, 1)
    ledger.write(resume_batch, batch)
    _later(ledger, 3600)
    _refuse_submissions(door, 400)
    assert dispatch(ledger, door.url, chunk).accepted == 1
    assert len(sandbox.all_jobs()) == 1


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_repeat_that_stops_the_batch_leaves_its_job_to_be_found(
    ledger: Ledger, sandbox: Running, door: Doorway, status: int
) -> None:
    """The key or the account fails between a request and its repeat."""
    batch, chunk = library.planned_chunk(ledger, "a.mov")
    _lose_answers_to_submissions(door)
    dispatch(ledger, door.url, chunk)
    _later(ledger, 3600)
    _refuse_submissions(door, status, "token_invalid")
    done = dispatch(ledger, door.url, chunk)
    assert done.stopped
    assert (done.refused, done.unknown) == (0, 1)
    assert ledger.read(read_batch, batch).state is BatchState.HELD
    ledger.write(resume_batch, batch)
    _later(ledger, 3600)
    door.before, door.after = Doorway().before, Doorway().after
    assert dispatch(ledger, door.url, chunk).accepted == 1
    assert len(sandbox.all_jobs()) == 1


def test_a_key_that_is_reused_is_a_conflict_whatever_its_status(
    ledger: Ledger, sandbox: Running, door: Doorway
) -> None:
    """Ittybit documents an error for it, and no status."""
    _, chunk = library.planned_chunk(ledger, "a.mov")
    said = b'{"kind":"request_invalid","message":"Idempotency-Key used with another body"}'
    answer = (422, said)
    door.before = lambda method, *_: answer if method == "POST" else None
    done = dispatch(ledger, door.url, chunk)
    assert (done.refused, done.unknown) == (0, 1)
    assert sandbox.all_jobs() == []


def test_a_success_outranks_an_attempt_that_we_gave_up_as_refused(ledger: Ledger) -> None:
    """It is paid for. A late failure changes nothing."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    ledger.write(record_refused, [Refused(sent.job_id, 1, "invalid_input", "no")])
    marks = {
        "ittybatch_batch_id": sent.batch_id,
        "ittybatch_job_key": sent.job_key,
        "ittybatch_attempt": "1",
    }
    failure = library.failed("task-0")
    object.__setattr__(failure, "metadata", marks)
    assert ledger.write(settle, [failure]) == [Verdict.LATE]
    success = library.remote("task-0", metadata=marks)
    assert ledger.write(settle, [success]) == [Verdict.APPLIED]
    [row] = library.rows(ledger, sent.batch_id)
    assert (row.state, row.error_message) == (JobState.SUCCEEDED, None)
    place = library.place(ledger, chunk)
    assert (place.succeeded, place.failed) == (1, 0)
    assert ledger.write(settle, [success]) == [Verdict.DUPLICATE]


def test_a_success_outranks_a_refusal_that_an_earlier_version_wrote(ledger: Ledger) -> None:
    """It wrote refused attempts as failed, without Ittybit's id."""
    _, [sent] = library.claimed(ledger, library.job("a.mov"))
    ledger.write(record_refused, [Refused(sent.job_id, 1, "invalid_input", "no")])
    ledger.write(lambda tx: tx.execute(update(Attempt).values(state="failed")))
    marks = {"batch_id": sent.batch_id, "job_id": sent.job_key, "attempt": 1}
    told = library.remote("task-0", metadata=marks)
    assert ledger.write(settle, [told]) == [Verdict.APPLIED]
    [row] = library.rows(ledger, sent.batch_id)
    assert row.state is JobState.SUCCEEDED
