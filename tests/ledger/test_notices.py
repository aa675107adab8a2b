"""Notices: each change of a batch is told once, in its transaction; idle batches are no news."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.batches import end_batch, finish_planning
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.control import approve, cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.models import Notice
from ittybatch.ledger.notices import Event, pending_notices, remove_notices
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.retention import tidy
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.submission import claim_due
from tests.ledger import library


def told(ledger: Ledger) -> list[Event]:
    """The events that wait, oldest first; none afterwards."""
    pending = ledger.read(pending_notices)
    ledger.write(remove_notices, [each.id for each in pending])
    return [each.event for each in pending]


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
    (resumed, held) = ledger.read(pending_notices)
    assert (resumed.event, held.event) == (Event.RESUMED, Event.HELD)
    assert held.details == {"reason": "The circuit is open."}
    assert (held.batch_id, held.batch_name) == (batch, "test")
    ledger.write(resume_batch, batch)
    assert told(ledger) == [Event.RESUMED, Event.HELD, Event.RESUMED]
    chunk = library.released_chunk(ledger, batch)
    library.accept(ledger, ledger.write(claim_due, chunk, 10))
    ledger.write(settle, [library.remote("task-0")])
    ledger.write(settle, [library.failed("task-1", "invalid_input", "not media")])
    assert ledger.write(finish_chunk, chunk)
    assert ledger.write(finish_chunk, chunk), "again, by another leg"
    done, quarantined = ledger.read(pending_notices)
    assert done.details["counts"]["succeeded"] == done.details["counts"]["failed"] == 1
    assert quarantined.details == {"chunk": 1, "jobs": 1}
    ledger.write(end_batch, batch)
    ledger.write(end_batch, batch)
    assert told(ledger) == [Event.CHUNK_DONE, Event.QUARANTINED, Event.ENDED]


def test_a_cancelled_batch_has_ended(ledger: Ledger) -> None:
    """With the reason; a second cancel is no news."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    told(ledger)
    ledger.write(cancel_batch, batch, "Cancelled by somebody.")
    ledger.write(cancel_batch, batch, "Cancelled by somebody.")
    (ended,) = ledger.read(pending_notices)
    assert ended.details == {"state": "cancelled", "reason": "Cancelled by somebody."}


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
