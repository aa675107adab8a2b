"""Waiters: a user's flow run is resumed once what it waits for has ended, and until it goes on."""

from datetime import timedelta

from sqlalchemy import select, update

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.batches import end_batch
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.models import Waiter
from ittybatch.ledger.retention import tidy
from ittybatch.ledger.runs import replace_run
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.waiters import (
    Target,
    anybody_waits,
    batch_begun_by,
    begin_waiting,
    due_waiters,
    finish_waiting,
    note_resumed,
    waiters_without_batch,
)
from tests.ledger import library


def due(ledger: Ledger) -> list[str]:
    """The flow runs to resume now."""
    return [each.flow_run_id for each in ledger.read(due_waiters)]


def test_a_run_that_waits_for_a_job_is_due_when_the_job_has_ended(ledger: Ledger) -> None:
    """Again and again until it goes on, but not each second."""
    chunk, submissions = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    target = Target(job=submissions[0].job_id)
    assert not ledger.read(anybody_waits)
    assert ledger.write(begin_waiting, "run-1", target) == 1
    assert ledger.read(anybody_waits)
    ledger.write(settle, [library.remote("task-1")])
    assert due(ledger) == [], "that was the other job"
    ledger.write(settle, [library.remote("task-0")])
    assert due(ledger) == ["run-1"]
    ledger.write(note_resumed, ledger.read(due_waiters))
    assert due(ledger) == [], "its process needs seconds to start"

    def long_ago(transaction: Transaction) -> None:
        transaction.execute(update(Waiter).values(called_at=library.LONG_AGO))

    ledger.write(long_ago)
    assert due(ledger) == ["run-1"], "it has not gone on"
    ledger.write(finish_waiting, "run-1")
    assert due(ledger) == []
    assert not ledger.read(anybody_waits)
    assert ledger.write(begin_waiting, "run-1", target) == 2, "a suspension has a key of its own"
    assert chunk


def test_a_run_that_waits_for_one_job_after_the_other_sleeps_until_the_next_has_ended(
    ledger: Ledger,
) -> None:
    """The end of the first wakes it once, and not every few seconds until the last has ended."""
    _, [first, second] = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    ledger.write(begin_waiting, "run-1", Target(job=first.job_id))
    ledger.write(settle, [library.remote("task-0")])
    assert due(ledger) == ["run-1"]
    ledger.write(begin_waiting, "run-1", Target(job=second.job_id))
    assert due(ledger) == []
    ledger.write(settle, [library.remote("task-1")])
    assert due(ledger) == ["run-1"]


def test_a_run_that_waits_for_a_batch_is_due_when_nothing_of_it_is_at_ittybit(
    ledger: Ledger,
) -> None:
    """And not while it is only planned, or held."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    batch = library.place(ledger, chunk).batch_id
    ledger.write(begin_waiting, "run-1", Target(batch=batch))
    assert due(ledger) == []
    ledger.write(settle, [library.remote("task-0")])
    ledger.write(finish_chunk, chunk)
    assert due(ledger) == []
    ledger.write(end_batch, batch)
    assert due(ledger) == ["run-1"]


def test_a_run_may_wait_before_the_batch_has_begun(ledger: Ledger) -> None:
    """The batch is found by the flow run that begins it, and known from then on."""
    ledger.write(begin_waiting, "run-1", Target(batch_run="batch-run"))
    assert [each.batch_run for each in ledger.write(waiters_without_batch)] == ["batch-run"]
    assert ledger.read(batch_begun_by, "batch-run") is None
    batch = library.new_batch(ledger, flow_run_id="batch-run").id
    assert ledger.write(waiters_without_batch) == []
    assert ledger.read(batch_begun_by, "batch-run") == batch
    owner = batch_owner(batch)
    assert ledger.write(replace_run, owner, 0)
    assert ledger.read(batch_begun_by, "batch-run") == batch, "also if another run works for it"


def test_what_waited_long_ago_is_tidied(ledger: Ledger) -> None:
    """What still waits stays."""
    ledger.write(begin_waiting, "run-1", Target(batch="b"))
    ledger.write(begin_waiting, "run-2", Target(batch="b"))
    ledger.write(finish_waiting, "run-1")

    def age(transaction: Transaction) -> None:
        ended = Waiter.ended_at.is_not(None)
        transaction.execute(update(Waiter).where(ended).values(ended_at=library.LONG_AGO))

    ledger.write(age)
    tidy(ledger, older_than=timedelta(days=30))
    left = ledger.read(lambda transaction: transaction.rows(select(Waiter.flow_run_id)))
    assert [row.flow_run_id for row in left] == ["run-2"]
