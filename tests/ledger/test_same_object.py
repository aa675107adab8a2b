"""An object with and without its fingerprint: whose jobs answer a request for it."""

from datetime import UTC, datetime, timedelta

from ittybatch.ledger import Ledger
from ittybatch.ledger.fates import Fate, fates_of
from ittybatch.ledger.intake import Order, OrderedJob, take
from ittybatch.ledger.plan import PlannedItem
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.submission import Accepted, record_accepted
from ittybatch.profiles import Item
from ittybatch.profiles.job import item_key, job_key
from tests.ledger import library

URI = "s3://media/a.mov"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def order(
    fingerprint: str | None,
    *,
    height: int = 480,
    written: datetime | None = YESTERDAY,
    again: bool = False,
) -> Order:
    """A request for one rendition of the object."""
    item = Item(URI, fingerprint, modified_at=written if fingerprint else None)
    key = job_key(item_key(item), "video", f'{{"height":{height}}}', None)
    given = library.order(library.job("a.mov", job_key=key), again=again)
    return Order(given.spec, PlannedItem(item, given.planned.jobs), again=again)


def asked(ledger: Ledger, *orders: Order) -> list[OrderedJob]:
    """The job of each request, all taken together; what is new is sent."""
    receipt = ledger.write(take, orders, send=True, lease_s=60.0)
    accepted = [
        Accepted(each.job_id, each.attempt, f"task-{each.job_id}") for each in receipt.submissions
    ]
    ledger.write(record_accepted, accepted)
    jobs: list[OrderedJob] = []
    for answer in receipt.answers:
        assert not isinstance(answer, Exception)
        jobs += answer
    return jobs


def test_whichever_came_first_the_other_gets_its_job(ledger: Ledger) -> None:
    """And what asks for something else makes a job of its own."""
    [alone] = asked(ledger, order(None))
    [known] = asked(ledger, order("e1"))
    assert (alone.created, known.created, known.job.id) == (True, False, alone.job.id)
    [known] = asked(ledger, order("e1", height=720))
    [alone] = asked(ledger, order(None, height=720))
    assert (known.created, alone.created, alone.job.id) == (True, False, known.job.id)


def test_requests_that_arrive_together_make_one_job(ledger: Ledger) -> None:
    """The store has answered some of them in time."""
    jobs = asked(ledger, order(None), order("e1"), order(None))
    assert sum(each.created for each in jobs) == 1
    assert len({each.job.id for each in jobs}) == 1


def test_an_objects_own_job_comes_before_that_of_its_uri(ledger: Ledger) -> None:
    """The one of the URI alone has failed for good, and is held back."""
    [alone] = asked(ledger, order(None))
    failed = library.failed(f"task-{alone.job.id}", "invalid_input", "not media")
    ledger.write(settle, [failed])
    # As a scan makes it, which knows nothing of requests.
    key = order("e1").planned.jobs[0].job_key
    batch = library.planned_batch(ledger, library.job("a.mov", job_key=key))
    [known] = asked(ledger, order("e1"))
    assert (known.created, known.job.batch_id) == (False, batch)


def test_what_was_written_after_a_job_was_sent_is_made(ledger: Ledger) -> None:
    """That job has read what was there before, whether it has ended or not."""
    [alone] = asked(ledger, order(None))
    later = datetime.now(UTC) + timedelta(hours=1)
    [known] = asked(ledger, order("e2", written=later))
    assert known.created
    assert known.job.id != alone.job.id
    assert ledger.read(fates_of, [order("e3", written=None)])[0][0].fate is Fate.NEW


def test_again_makes_an_ended_job_under_the_objects_own_key(ledger: Ledger) -> None:
    """So that a scan finds it."""
    [alone] = asked(ledger, order(None))
    [open_] = asked(ledger, order("e1", again=True))
    assert (open_.created, open_.job.id) == (False, alone.job.id)
    ledger.write(settle, [library.remote(f"task-{alone.job.id}")])
    [known] = asked(ledger, order("e1", again=True))
    assert known.created
    assert known.job.job_key == order("e1").planned.jobs[0].job_key


def test_a_quote_says_what_a_request_would_do(ledger: Ledger) -> None:
    """Nobody is shown a price for a job that exists."""
    [alone] = asked(ledger, order(None))
    ledger.write(settle, [library.remote(f"task-{alone.job.id}")])
    [[fate]] = ledger.read(fates_of, [order("e1")])
    assert (fate.fate, fate.job and fate.job.id) == (Fate.MADE, alone.job.id)
