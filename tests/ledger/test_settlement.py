"""Settling: what Ittybit says is applied once, in whatever order it comes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from ittybatch.ittybit.job import JobError, JobStatus
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import end_batch, read_batch
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.control import cancel_batch
from ittybatch.ledger.counters import recount
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.models import Attempt, Chunk, Delivery, Job
from ittybatch.ledger.overdue import note_polled, overdue_jobs
from ittybatch.ledger.queries import batch_status
from ittybatch.ledger.settlement import expire, settle
from ittybatch.ledger.states import AttemptState, BatchState, JobState, Verdict
from ittybatch.ledger.submission import Submission, claim_due, return_unsent, unanswered
from tests.ledger import library


def _overdue(ledger: Ledger) -> None:
    """Let every deadline have passed."""
    ledger.write(
        lambda tx: tx.execute(update(Job).values(deadline_at=tx.now - timedelta(seconds=1)))
    )


def _due(ledger: Ledger) -> None:
    """Let every retry be due."""
    ledger.write(lambda tx: tx.execute(update(Job).values(not_before=None)))


def test_a_success_is_recorded_with_its_output(ledger: Ledger) -> None:
    """URL, format, size, duration and the raw body."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    assert ledger.write(settle, [library.remote("task-0")]) == [Verdict.APPLIED]
    [row] = library.rows(ledger, library.place(ledger, chunk).batch_id)
    assert (row.state, row.output_url) == (JobState.SUCCEEDED, "https://cdn.test/out.mp4")
    assert (row.format, row.width, row.height) == ("mp4", 854, 480)
    assert (row.duration_s, row.size_bytes) == (12.5, 1000)
    raw = ledger.read(lambda tx: tx.execute(select(Job.outcome)).scalar_one())
    assert raw == '{"id":"task-0","status":"succeeded"}'
    assert library.place(ledger, chunk).succeeded == 1


def test_a_retryable_failure_is_planned_again_later(ledger: Ledger) -> None:
    """Until the attempts run out; each under a key of its own."""
    chunk, [first] = library.submitted(ledger, library.job("a.mov", attempts=2))
    ledger.write(settle, [library.failed("task-0")])
    assert (library.place(ledger, chunk).planned, library.place(ledger, chunk).in_flight) == (1, 0)
    assert ledger.write(claim_due, chunk, 10) == [], "it waits for its backoff"
    _due(ledger)
    [second] = ledger.write(claim_due, chunk, 10)
    assert second.attempt == 2
    assert second.idempotency_key != first.idempotency_key
    library.accept(ledger, [second], "again")
    ledger.write(settle, [library.failed("again-0")])
    assert library.place(ledger, chunk).failed == 1


def test_a_permanent_failure_is_not_tried_again(ledger: Ledger) -> None:
    """It would fail the same way, and be billed the same way."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    ledger.write(settle, [library.failed("task-0", "invalid_input", "could not decode")])
    [row] = library.rows(ledger, library.place(ledger, chunk).batch_id)
    assert (row.state, row.attempts) == (JobState.FAILED, 1)
    assert row.error_message == "could not decode"


def test_the_same_outcome_again_changes_nothing(ledger: Ledger) -> None:
    """In one group and in the next."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    job = library.remote("task-0")
    assert ledger.write(settle, [job, job]) == [Verdict.APPLIED, Verdict.DUPLICATE]
    assert ledger.write(settle, [job]) == [Verdict.DUPLICATE]
    assert library.place(ledger, chunk).succeeded == 1


def test_terminal_is_terminal(ledger: Ledger) -> None:
    """A failure after a success, and a success after a failure, are recorded as late."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"), library.job("b.mov", attempts=1))
    good, bad = library.remote("task-0"), library.failed("task-1")
    ledger.write(settle, [good, bad])
    assert ledger.write(settle, [library.failed("task-0"), library.remote("task-1")]) == [
        Verdict.LATE,
        Verdict.LATE,
    ]
    place = library.place(ledger, chunk)
    assert (place.succeeded, place.failed) == (1, 1)


def test_news_of_an_earlier_attempt_does_not_touch_the_next(ledger: Ledger) -> None:
    """A late word about attempt 1 while attempt 2 runs."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    ledger.write(settle, [library.failed("task-0")])
    _due(ledger)
    library.accept(ledger, ledger.write(claim_due, chunk, 10), "again")
    assert ledger.write(settle, [library.remote("task-0")]) == [Verdict.LATE]
    assert library.place(ledger, chunk).in_flight == 1
    assert ledger.write(settle, [library.remote("again-0")]) == [Verdict.APPLIED]


def test_progress_is_no_outcome(ledger: Ledger) -> None:
    """Words never seen before mean: still running."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    assert ledger.write(settle, [library.remote("task-0", JobStatus.RUNNING)]) == [Verdict.PROGRESS]
    assert library.place(ledger, chunk).in_flight == 1


def test_a_job_that_is_not_ours_changes_nothing(ledger: Ledger) -> None:
    """Another user of the account, or another ledger."""
    library.submitted(ledger, library.job("a.mov"))
    stranger = library.remote("task-9", metadata={"batch_id": "x", "job_id": "y", "attempt": 1})
    assert ledger.write(settle, [stranger]) == [Verdict.UNKNOWN]


@pytest.mark.parametrize(
    "names",
    [
        ("ittybatch_batch_id", "ittybatch_job_key", "ittybatch_attempt"),
        ("batch_id", "job_id", "attempt"),
    ],
    ids=["this version's", "an earlier version's"],
)
@pytest.mark.parametrize("attempt", [1, "1"])
def test_the_metadata_finds_a_job_whose_answer_was_lost(
    ledger: Ledger, attempt: object, names: tuple[str, ...]
) -> None:
    """It tells batch, job and attempt, which is all it takes."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    marks = dict(zip(names, (sent.batch_id, sent.job_key, attempt), strict=True))
    assert ledger.write(settle, [library.remote("task-7", metadata=marks)]) == [Verdict.APPLIED]
    [row] = library.rows(ledger, library.place(ledger, chunk).batch_id)
    assert (row.state, row.task_id) == (JobState.SUCCEEDED, "task-7")


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_webhook_before_the_answer_still_tells_when_it_was_sent(
    ledger: Ledger, *, succeeds: bool
) -> None:
    """The answer finds nothing left to do, or never comes."""
    _, (sent,) = library.claimed(ledger, library.job("a.mov", attempts=1))
    marks = {"batch_id": sent.batch_id, "job_id": sent.job_key, "attempt": sent.attempt}
    told = library.remote("task-0") if succeeds else library.failed("task-0")
    assert ledger.write(settle, [replace(told, metadata=marks)]) == [Verdict.APPLIED]
    library.accept(ledger, [sent])
    (row,) = library.rows(ledger, sent.batch_id)
    assert row.state == ("succeeded" if succeeds else "failed")
    assert row.submitted_at is not None


@pytest.mark.parametrize("attempt", [None, "x", -1, 2, 10**30, [1], {}])
def test_metadata_that_fits_no_attempt_finds_none(ledger: Ledger, attempt: object) -> None:
    """Whatever type it comes as."""
    _, [sent] = library.claimed(ledger, library.job("a.mov"))
    marks = {"batch_id": sent.batch_id, "job_id": sent.job_key, "attempt": attempt}
    assert ledger.write(settle, [library.remote("task-7", metadata=marks)]) == [Verdict.UNKNOWN]


def test_a_nested_task_does_not_pass_for_its_job(ledger: Ledger) -> None:
    """A probe may echo the metadata of the job it is part of."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    marks = {"batch_id": sent.batch_id, "job_id": sent.job_key, "attempt": 1}
    probe = library.remote("probe-1", metadata=marks)
    object.__setattr__(probe, "kind", "probe")
    assert ledger.write(settle, [probe]) == [Verdict.UNKNOWN]
    assert library.place(ledger, chunk).in_flight == 1


def test_an_overdue_job_is_given_up_and_says_that_it_may_bill(ledger: Ledger) -> None:
    """It stays claimed: only an operator pays for it twice."""
    chunk, [sent] = library.submitted(ledger, library.job("a.mov"))
    assert not ledger.write(expire, sent.job_id), "its deadline has not passed"
    _overdue(ledger)
    assert ledger.write(expire, sent.job_id)
    assert not ledger.write(expire, sent.job_id)
    [row] = library.rows(ledger, library.place(ledger, chunk).batch_id)
    assert row.state is JobState.EXPIRED
    assert "may still run" in str(row.error_message)
    later = library.planned_batch(ledger, library.job("a.mov"))
    assert library.rows(ledger, later) == []


def test_an_expired_job_that_then_succeeds_is_taken_as_succeeded(ledger: Ledger) -> None:
    """It is paid for. A failure that late changes nothing."""
    chunk, sent = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    _overdue(ledger)
    for each in sent:
        ledger.write(expire, each.job_id)
    verdicts = ledger.write(settle, [library.remote("task-0"), library.failed("task-1")])
    assert verdicts == [Verdict.APPLIED, Verdict.LATE]
    place = library.place(ledger, chunk)
    assert (place.succeeded, place.expired, place.in_flight) == (1, 1, 0)


def test_a_batch_whose_last_given_up_job_succeeds_has_succeeded(ledger: Ledger) -> None:
    """Also when that is heard after the batch has ended."""
    chunk, sent = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    batch = library.place(ledger, chunk).batch_id
    _overdue(ledger)
    for each in sent:
        ledger.write(expire, each.job_id)
    assert ledger.write(finish_chunk, chunk)
    assert ledger.write(end_batch, batch).state is BatchState.SOME_FAILED
    ledger.write(settle, [library.remote("task-0")])
    assert ledger.read(read_batch, batch).state is BatchState.SOME_FAILED
    ledger.write(settle, [library.remote("task-1")])
    assert ledger.read(read_batch, batch).state is BatchState.SUCCEEDED


def test_overdue_jobs_are_found_by_silence_and_by_deadline(ledger: Ledger) -> None:
    """And not again right after they were asked after."""
    chunk, sent = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    assert ledger.read(overdue_jobs, silent_s=60, chunk=chunk) == []
    found = ledger.read(overdue_jobs, silent_s=0, chunk=chunk)
    assert [job.task_id for job in found] == ["task-0", "task-1"]
    _overdue(ledger)
    [job, _] = ledger.read(overdue_jobs, silent_s=60)
    assert job.past_deadline
    ledger.write(note_polled, [each.job_id for each in sent])
    assert ledger.read(overdue_jobs, silent_s=60) == []


def test_hostile_text_is_cut_and_cleaned(ledger: Ledger) -> None:
    """Postgres takes no NUL, and an error message no megabyte."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    error = JobError("invalid_input\x00" * 50, "no\x00 " * 10_000)
    ledger.write(settle, [library.remote("task-0", JobStatus.FAILED, error=error)])
    [row] = library.rows(ledger, library.place(ledger, chunk).batch_id)
    assert len(str(row.error_message)) <= 2000
    assert len(str(row.error_kind)) <= 100


def test_a_delivery_is_kept_once_and_counted(ledger: Ledger) -> None:
    """The same bytes again raise a number and change nothing else."""
    library.submitted(ledger, library.job("a.mov"))
    arrival = Arrival(b'{"id":"task-0"}', library.remote("task-0"))
    assert ledger.write(receive, [arrival, arrival]) == [Verdict.APPLIED, Verdict.DUPLICATE]
    ledger.write(receive, [arrival])
    [row] = ledger.read(lambda tx: tx.rows(select(Delivery.times, Delivery.verdict)))
    assert tuple(row) == (3, "applied")


def test_what_cannot_be_read_is_kept_as_it_is(ledger: Ledger) -> None:
    """Signed, so it came from Ittybit: somebody will want to see it."""
    assert ledger.write(receive, [Arrival(b"\xff\x00", None)]) == [Verdict.MALFORMED]
    assert ledger.read(lambda tx: tx.execute(select(Delivery.body)).scalar_one()) == b"\xff\x00"


def test_counters_that_went_wrong_are_mended(ledger: Ledger) -> None:
    """They should never differ from the rows; if they do, it is seen and mended."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    batch = library.place(ledger, chunk).batch_id
    assert ledger.write(recount, batch) == []
    ledger.write(lambda tx: tx.execute(update(Chunk).values(in_flight=7, failed=2)))
    [(number, true)] = ledger.write(recount, batch)
    assert (number, true["in_flight"], true["failed"]) == (1, 1, 0)
    assert library.place(ledger, chunk).in_flight == 1


def test_jobs_that_took_more_than_one_attempt_are_counted_as_they_do(ledger: Ledger) -> None:
    """Once a job, however many it takes, and not for what was called off before it left."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    batch = library.place(ledger, chunk).batch_id
    counted = []
    for again in range(2):
        first = "task" if again == 0 else f"again-{again - 1}"
        ledger.write(settle, [library.failed(f"{first}-0")])
        _due(ledger)
        [sent] = ledger.write(claim_due, chunk, 10)
        ledger.write(return_unsent, [(sent.job_id, sent.attempt)], 0)
        counted.append(ledger.read(batch_status, batch).retried)
        library.accept(ledger, ledger.write(claim_due, chunk, 10), f"again-{again}")
        counted.append(ledger.read(batch_status, batch).retried)
    assert counted == [0, 1, 1, 1]
    assert ledger.write(recount, batch) == []


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("again", [False, True])
def test_an_attempt_that_left_after_it_was_returned_counts(
    ledger: Ledger, attempts: int, *, again: bool
) -> None:
    """A poll found no job for it at Ittybit, because its process was slow and had not sent it.

    Sent again under the same key, it would bring back a job that has ended already, and the
    ledger would wait for its end forever.
    """
    chunk, _ = library.claimed(ledger, library.job("a.mov", attempts=attempts))
    batch = library.place(ledger, chunk).batch_id
    [sent] = ledger.read(unanswered, chunk)
    ledger.write(return_unsent, [(sent.job_id, sent.attempt)], 0)
    bad = again and attempts == 1
    marks = {"batch_id": sent.batch_id, "job_id": sent.job_key, "attempt": sent.attempt}
    ended = library.failed("late") if again else library.remote("late")
    ended = replace(ended, kind="video", metadata=marks)
    assert ledger.write(settle, [ended, ended]) == [Verdict.APPLIED, Verdict.DUPLICATE]
    if again and not bad:
        _due(ledger)
        [second] = ledger.write(claim_due, chunk, 10)
        assert (second.attempt, second.idempotency_key != sent.idempotency_key) == (2, True)
        library.accept(ledger, [second], "again")
        ledger.write(settle, [library.remote("again-0")])
    place = library.place(ledger, chunk)
    assert (place.planned, place.in_flight, place.succeeded, place.failed) == (0, 0, not bad, bad)
    assert (place.sent, place.retried) == ((2, 1) if again and not bad else (1, 0))
    assert ledger.write(recount, batch) == []


def _cancelled_as_unsent(ledger: Ledger) -> tuple[Submission, dict[str, Any]]:
    """A job that nobody found at Ittybit; and what Ittybit echoes once it was sent after all."""
    _, [sent] = library.claimed(ledger, library.job("a.mov"))
    ledger.write(return_unsent, [(sent.job_id, sent.attempt)], 0)
    ledger.write(cancel_batch, sent.batch_id, "enough")
    marks = {"batch_id": sent.batch_id, "job_id": sent.job_key, "attempt": sent.attempt}
    return sent, {"kind": "video", "metadata": marks}


def _claims(ledger: Ledger) -> list[tuple[int, bool | None]]:
    rows = ledger.read(lambda tx: tx.rows(select(Job.id, Job.claim).order_by(Job.id)))
    return [(row.id, row.claim) for row in rows]


def test_a_success_of_a_job_that_was_cancelled_as_unsent_is_not_bought_again(
    ledger: Ledger,
) -> None:
    """Its process was frozen with it, and sent it after the cancel: it is paid for."""
    sent, given = _cancelled_as_unsent(ledger)
    ended = replace(library.remote("late"), **given)
    assert ledger.write(settle, [ended, ended]) == [Verdict.APPLIED, Verdict.DUPLICATE]
    [row] = library.rows(ledger, sent.batch_id)
    assert (row.state, row.task_id) == (JobState.SUCCEEDED, "late")
    status = ledger.read(batch_status, sent.batch_id)
    assert (status.state, status.counts["cancelled"]) == (BatchState.CANCELLED, 0)
    assert ledger.write(recount, sent.batch_id) == []
    assert _claims(ledger) == [(sent.job_id, True)]
    assert library.rows(ledger, library.planned_batch(ledger, library.job("a.mov"))) == []


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_failure_of_a_job_that_was_cancelled_as_unsent_only_uses_up_its_key(
    ledger: Ledger, status: JobStatus
) -> None:
    """The next batch makes the job: under the old key Ittybit would answer with a conflict."""
    sent, given = _cancelled_as_unsent(ledger)
    ended = replace(library.remote("late", status, error=JobError("timeout", "slow")), **given)
    assert ledger.write(settle, [ended]) == [Verdict.LATE]
    [row] = library.rows(ledger, sent.batch_id)
    assert row.state is JobState.CANCELLED
    assert ledger.write(recount, sent.batch_id) == []
    _, [again] = library.claimed(ledger, library.job("a.mov"))
    assert (again.attempt, again.idempotency_key != sent.idempotency_key) == (2, True)


def test_a_key_that_another_batch_has_used_brings_its_job_to_the_new_batch(ledger: Ledger) -> None:
    """A late request of a cancelled batch made the job; the next batch had begun by then."""
    sent, given = _cancelled_as_unsent(ledger)
    chunk, [again] = library.claimed(ledger, library.job("a.mov"))
    assert again.idempotency_key == sent.idempotency_key
    ended = replace(library.remote("late-0"), **given)
    assert ledger.write(settle, [ended]) == [Verdict.APPLIED]
    assert _claims(ledger) == [(sent.job_id, None), (again.job_id, True)]
    library.accept(ledger, [again], "late")
    assert ledger.write(settle, [ended]) == [Verdict.APPLIED]
    assert library.place(ledger, chunk).succeeded == 1


def test_an_attempt_remembers_how_it_ended(ledger: Ledger) -> None:
    """Every attempt, not only the last."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    ledger.write(settle, [library.failed("task-0")])
    _due(ledger)
    library.accept(ledger, ledger.write(claim_due, chunk, 10), "again")
    ledger.write(settle, [library.remote("again-0")])
    found = ledger.read(
        lambda tx: tx.rows(
            select(Attempt.number, Attempt.state, Attempt.task_id, Attempt.error_message).order_by(
                Attempt.number
            )
        )
    )
    assert [tuple(row) for row in found] == [
        (1, AttemptState.FAILED, "task-0", "preempted"),
        (2, AttemptState.SUCCEEDED, "again-0", None),
    ]
