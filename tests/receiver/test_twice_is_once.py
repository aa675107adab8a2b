"""Webhooks come twice, late, early and out of order."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import update

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.models import Job
from ittybatch.ledger.settlement import expire
from ittybatch.ledger.states import JobState
from tests.ledger import library
from tests.receiver.harness import Running, deliveries, payload, running

TIMES = 50


def test_the_same_webhook_fifty_times_at_once_counts_once(
    receiver: Running, ledger: Ledger
) -> None:
    """One is applied, the others are duplicates; one row of the inbox counts them."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    answers = receiver.post_at_once([payload("task-0")] * TIMES)
    assert {answer.status_code for answer in answers} == {200}
    said = sorted(answer.text for answer in answers)
    assert said == ["applied", *["duplicate"] * (TIMES - 1)]
    place = library.place(ledger, chunk)
    assert (place.succeeded, place.in_flight) == (1, 1)
    assert [(row.verdict, row.times) for row in deliveries(ledger)] == [("applied", TIMES)]
    assert receiver.metric('ittybatch_deliveries_total{verdict="applied"}') == 1
    assert receiver.metric('ittybatch_deliveries_total{verdict="duplicate"}') == TIMES - 1


def test_the_same_outcome_in_other_bytes_is_a_duplicate(receiver: Running, ledger: Ledger) -> None:
    """Sent to the job's own address and to a registered endpoint, in two dialects at once."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    flat = payload("task-0")
    answers = receiver.post_at_once([flat, {"event": "job.succeeded", "data": flat}])
    assert sorted(answer.text for answer in answers) == ["applied", "duplicate"]
    assert library.place(ledger, chunk).succeeded == 1


def test_an_end_is_an_end(receiver: Running, ledger: Ledger) -> None:
    """A later webhook of the same job is stored and changes nothing."""
    chunk, [sent] = library.submitted(ledger, library.job("a.mov"))
    said = [
        receiver.post(payload("task-0", status)).text
        for status in ("succeeded", "processing", "failed", "succeeded")
    ]
    assert said == ["applied", "progress", "late", "duplicate"]
    assert [row.state for row in library.rows(ledger, sent.batch_id)] == [JobState.SUCCEEDED]
    assert library.place(ledger, chunk).succeeded == 1


def test_a_success_after_the_deadline_is_taken(receiver: Running, ledger: Ledger) -> None:
    """It was given up, and is paid for."""
    chunk, [sent] = library.submitted(ledger, library.job("a.mov"))
    ledger.write(
        lambda tx: tx.execute(update(Job).values(deadline_at=tx.now - timedelta(seconds=1)))
    )
    assert ledger.write(expire, sent.job_id)
    assert library.place(ledger, chunk).expired == 1
    assert receiver.post(payload("task-0")).text == "applied"
    place = library.place(ledger, chunk)
    assert (place.expired, place.succeeded) == (0, 1)


def test_a_webhook_before_its_submissions_answer_is_matched_by_metadata(
    receiver: Running, ledger: Ledger
) -> None:
    """Ittybit was faster than our own commit."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    ours = {"batch_id": sent.batch_id, "job_id": sent.job_key, "attempt": sent.attempt}
    assert receiver.post(payload("task-early", metadata=ours)).text == "applied"
    [row] = library.rows(ledger, sent.batch_id)
    assert (row.state, row.task_id) == (JobState.SUCCEEDED, "task-early")
    library.accept(ledger, [sent], "task-early-not")
    assert library.place(ledger, chunk).succeeded == 1


def test_two_receivers_on_one_database_count_each_job_once(postgres_url: str) -> None:
    """Both get every webhook at the same time, in opposite orders."""
    with running(postgres_url) as one, running(postgres_url) as two:
        ledger = Ledger(create_ledger_engine(postgres_url), patience_s=5)
        jobs = [library.job(f"{number}.mov") for number in range(120)]
        chunk, sent = library.submitted(ledger, *jobs)
        bodies = [payload(f"task-{number}") for number in range(len(sent))]
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(one.post_at_once, bodies)
            second = pool.submit(two.post_at_once, bodies[::-1])
            answers = [*first.result(), *second.result()]
        assert {answer.status_code for answer in answers} == {200}
        said = sorted(answer.text for answer in answers)
        assert said == ["applied"] * len(sent) + ["duplicate"] * len(sent)
        place = library.place(ledger, chunk)
        assert (place.succeeded, place.in_flight) == (len(sent), 0)
        assert {row.times for row in deliveries(ledger)} == {2}
        ledger.close()
