"""Submitting: the ledger knows of an attempt before the wire does."""

from concurrent.futures import ThreadPoolExecutor

from ittybatch.ledger import Ledger
from ittybatch.ledger.control import cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.identity import idempotency_key
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import JobState, Verdict
from ittybatch.ledger.submission import (
    Accepted,
    Refused,
    claim_due,
    postpone_unanswered,
    record_accepted,
    record_refused,
    return_unsent,
    unanswered,
)
from tests.ledger import library
from tests.ledger.whole import accepted_attempts


def test_a_claim_commits_the_key_before_anything_is_sent(ledger: Ledger) -> None:
    """The key is 32 hex digits of the job's key and the attempt's number."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    assert sent.idempotency_key == idempotency_key(sent.job_key, 1)
    assert len(sent.idempotency_key) == 32
    batch = library.place(ledger, chunk).batch_id
    assert ledger.read(accepted_attempts, batch) == {sent.idempotency_key: None}
    assert library.place(ledger, chunk).in_flight == 1


def test_a_crash_before_the_answer_sends_the_same_key_again(ledger: Ledger) -> None:
    """Ittybit replays its first answer to it, so this is one job."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    [again] = ledger.read(unanswered, chunk)
    assert again.idempotency_key == sent.idempotency_key
    assert ledger.write(claim_due, chunk, 10) == []


def test_two_legs_claim_each_job_once(ledger: Ledger) -> None:
    """Two workers may hold the same chunk."""
    jobs = [library.job(f"{number}.mov") for number in range(60)]
    chunk = library.released_chunk(ledger, library.planned_batch(ledger, *jobs))
    with ThreadPoolExecutor(4) as pool:
        groups = list(pool.map(lambda _: ledger.write(claim_due, chunk, 20), range(4)))
    claimed = [each.job_id for group in groups for each in group]
    assert len(claimed) == len(set(claimed))
    while more := ledger.write(claim_due, chunk, 20):
        claimed += [each.job_id for each in more]
    assert len(set(claimed)) == 60
    assert library.place(ledger, chunk).in_flight == 60


def test_an_answer_recorded_twice_is_one_answer(ledger: Ledger) -> None:
    """Two legs that sent the same key get the same job, and both record it."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    for _ in range(2):
        ledger.write(record_accepted, [Accepted(sent.job_id, sent.attempt, "task-0")])
    [row] = library.rows(ledger, library.place(ledger, chunk).batch_id)
    assert (row.state, row.task_id) == (JobState.SUBMITTED, "task-0")
    assert library.place(ledger, chunk).in_flight == 1


def test_a_refusal_is_final_and_keeps_its_reason(ledger: Ledger) -> None:
    """The job failed; nothing is in flight; its chunk is ready."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    refusal = Refused(sent.job_id, sent.attempt, "invalid_input", "options.fps: 1 to 60")
    ledger.write(record_refused, [refusal])
    [row] = library.rows(ledger, library.place(ledger, chunk).batch_id)
    assert (row.state, row.error_message) == (JobState.FAILED, "options.fps: 1 to 60")
    assert (library.place(ledger, chunk).failed, library.place(ledger, chunk).in_flight) == (1, 0)


def test_what_was_surely_not_sent_keeps_its_attempt(ledger: Ledger) -> None:
    """A 429 costs no attempt: the same number, and key, go out later."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    ledger.write(return_unsent, [(sent.job_id, sent.attempt)], 0)
    assert library.place(ledger, chunk).planned == 1
    [again] = ledger.write(claim_due, chunk, 10)
    assert (again.attempt, again.idempotency_key) == (1, sent.idempotency_key)


def test_what_was_put_off_waits(ledger: Ledger) -> None:
    """Retry-After is honoured across legs."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    ledger.write(return_unsent, [(sent.job_id, sent.attempt)], 60)
    assert ledger.write(claim_due, chunk, 10) == []


def test_an_unknown_outcome_is_neither_lost_nor_sent_anew(ledger: Ledger) -> None:
    """It stays in flight, waits, and then goes out under the same key."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    ledger.write(postpone_unanswered, [(sent.job_id, sent.attempt)], 60)
    assert ledger.read(unanswered, chunk) == []
    ledger.write(postpone_unanswered, [(sent.job_id, sent.attempt)], 0)
    [again] = ledger.read(unanswered, chunk)
    assert again.idempotency_key == sent.idempotency_key


def test_a_held_batch_claims_nothing_until_it_is_resumed(ledger: Ledger) -> None:
    """401 and 402 stop a batch; it goes on from there."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    chunk = library.released_chunk(ledger, batch)
    ledger.write(hold_batch, batch, "402: no credit")
    assert ledger.write(claim_due, chunk, 10) == []
    assert ledger.write(resume_batch, batch)
    assert not ledger.write(resume_batch, batch)
    assert len(ledger.write(claim_due, chunk, 10)) == 1


def test_cancel_says_what_may_still_bill(ledger: Ledger) -> None:
    """What was sent stays in flight and is recorded when it ends."""
    batch = library.planned_batch(ledger, library.job("a.mov"), library.job("b.mov"))
    chunk = library.released_chunk(ledger, batch)
    [sent] = ledger.write(claim_due, chunk, 1)
    library.accept(ledger, [sent])
    assert ledger.write(cancel_batch, batch, "no longer wanted") == (1, 1)
    assert ledger.write(claim_due, chunk, 10) == []
    assert ledger.write(settle, [library.remote("task-0")]) == [Verdict.APPLIED]
    states = [row.state for row in library.rows(ledger, batch)]
    assert states == [JobState.SUCCEEDED, JobState.CANCELLED]
    later = library.planned_batch(ledger, library.job("a.mov"), library.job("b.mov"))
    assert [row.input for row in library.rows(ledger, later)] == ["s3://media/b.mov"]


def test_a_webhook_that_came_before_the_answer_is_found_again(ledger: Ledger) -> None:
    """Without metadata to match it by, it waits in the inbox for the answer."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    body = b'{"id":"task-0","status":"succeeded"}'
    assert ledger.write(receive, [Arrival(body, library.remote("task-0"))]) == [Verdict.UNKNOWN]
    early = ledger.write(record_accepted, [Accepted(sent.job_id, sent.attempt, "task-0")])
    assert early == [body]
    assert library.place(ledger, chunk).in_flight == 1
