"""Notices: each change of a batch is told once, in its transaction; idle batches are no news."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.batches import end_batch, finish_planning
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.control import approve, cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.models import Notice
from ittybatch.ledger.notices import (
    Event,
    Pending,
    claim_notices,
    notices_wait,
    remove_notices,
)
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.retention import tidy
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.submission import claim_due
from tests.ledger import library


def taken(ledger: Ledger) -> list[Pending]:
    """The notices that wait, oldest first; none afterwards."""
    pending = ledger.write(claim_notices)
    ledger.write(remove_notices, [each.id for each in pending])
    return pending


def told(ledger: Ledger) -> list[str]:
    """Their events."""
    return [each.event for each in taken(ledger)]


def test_the_life_of_a_batch_is_told_in_its_order(ledger: Ledger) -> None:
    """Asked about, approved, held, resumed, its chunk done with a job held back, ended."""
    batch = library.new_batch(ledger).id
    page = library.page(library.job("a.mov"), library.job("b.mov"))
    ledger.write(plan_page, batch, page, after=None, chunk_size=10)
    ledger.write(finish_planning, batch, "2 jobs are more than 1.")
    assert told(ledger) == [Event.PLANNED, Event.UNAPPROVED]
    assert ledger.write(approve, batch)
    assert not ledger.write(approve, batch), "and nothing is told of that"
    ledger.write(hold_batch, batch, "The circuit is open.")
    ledger.write(hold_batch, batch, "And again.")
    (resumed, held) = taken(ledger)
    assert (resumed.event, held.event) == (Event.RESUMED, Event.HELD)
    assert held.details == {"reason": "The circuit is open."}
    assert (held.batch_id, held.batch_name) == (batch, "test")
    ledger.write(resume_batch, batch)
    assert told(ledger) == [Event.RESUMED]
    chunk = library.released_chunk(ledger, batch)
    library.accept(ledger, ledger.write(claim_due, chunk, 10))
    ledger.write(settle, [library.remote("task-0")])
    ledger.write(settle, [library.failed("task-1", "invalid_input", "not media")])
    assert ledger.write(finish_chunk, chunk)
    assert ledger.write(finish_chunk, chunk), "again, by another leg"
    done, quarantined = taken(ledger)
    assert (done.event, quarantined.event) == (Event.CHUNK_DONE, Event.QUARANTINED)
    assert done.details["counts"]["succeeded"] == done.details["counts"]["failed"] == 1
    assert quarantined.details == {"chunk": 1, "jobs": 1}
    ledger.write(end_batch, batch)
    ledger.write(end_batch, batch)
    assert told(ledger) == [Event.ENDED]


def test_a_cancelled_batch_has_ended(ledger: Ledger) -> None:
    """With the reason; a second cancel is no news."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    told(ledger)
    ledger.write(cancel_batch, batch, "Cancelled by somebody.")
    ledger.write(cancel_batch, batch, "Cancelled by somebody.")
    (ended,) = taken(ledger)
    assert ended.details == {"state": "cancelled", "reason": "Cancelled by somebody."}


def test_a_chunk_that_a_cancel_ends_is_told_with_what_it_holds_back(ledger: Ledger) -> None:
    """One job failed for good, the other waited for a retry."""
    jobs = [library.job(name, attempts=2) for name in ("a.mov", "b.mov")]
    batch = library.planned_batch(ledger, *jobs)
    chunk = library.released_chunk(ledger, batch)
    library.accept(ledger, ledger.write(claim_due, chunk, 10))
    ledger.write(settle, [library.failed("task-0", "invalid_input", "not media")])
    ledger.write(settle, [library.failed("task-1")])
    told(ledger)

    ledger.write(cancel_batch, batch, "Cancelled by somebody.")

    done, quarantined, ended = taken(ledger)
    assert (done.event, done.details["counts"]["cancelled"]) == (Event.CHUNK_DONE, 1)
    assert (quarantined.event, quarantined.details) == (
        Event.QUARANTINED,
        {"chunk": 1, "jobs": 1},
    )
    assert ended.event == Event.ENDED
    assert ledger.write(finish_chunk, chunk)
    assert told(ledger) == [], "by a leg that comes late"


def test_a_batch_that_found_nothing_is_no_news(ledger: Ledger) -> None:
    """A queue is drained every few minutes."""
    batch = library.planned_batch(ledger)
    ledger.write(end_batch, batch)
    assert told(ledger) == []


def test_what_is_rolled_back_is_not_told(ledger: Ledger) -> None:
    """The notice belongs to the change."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    told(ledger)

    def hold_and_fail(transaction: Transaction) -> None:
        hold_batch(transaction, batch, "Held.")
        raise RuntimeError("after the change")

    with pytest.raises(RuntimeError):
        ledger.write(hold_and_fail)
    assert told(ledger) == []


def test_notices_that_nobody_sends_do_not_stay_for_ever(ledger: Ledger) -> None:
    """Where no receiver and no reconcile runs, tidying removes them after a day."""
    library.planned_batch(ledger, library.job("a.mov"))

    def age(transaction: Transaction) -> None:
        transaction.execute(update(Notice).values(at=library.LONG_AGO))

    ledger.write(age)
    library.planned_batch(ledger, library.job("b.mov"))
    tidy(ledger, older_than=timedelta(days=30))
    assert told(ledger) == [Event.PLANNED], "of today"


def test_two_wakers_send_a_notice_once_and_a_dead_one_is_stood_in_for(ledger: Ledger) -> None:
    """What one has claimed, another gets a minute later."""
    library.planned_batch(ledger, library.job("a.mov"))
    assert ledger.read(notices_wait)
    assert len(ledger.write(claim_notices)) == 1
    assert not ledger.read(notices_wait)
    assert ledger.write(claim_notices) == []

    def age(transaction: Transaction) -> None:
        transaction.execute(update(Notice).values(claimed_at=library.LONG_AGO))

    ledger.write(age)
    assert told(ledger) == [Event.PLANNED]
