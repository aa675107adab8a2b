"""An item with all that happened to it."""

from sqlalchemy import select

from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import finish_planning
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.models import Item
from ittybatch.ledger.pending import mark, pending_page
from ittybatch.ledger.plan import PlannedItem, PlannedPage
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.recorded import ledger_time
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.sinks import DeclaredSink, sync_sinks
from ittybatch.ledger.states import AttemptState, JobState, Verdict
from ittybatch.ledger.submission import claim_due
from ittybatch.ledger.timeline import delivery_body, item_history, item_of_job, poll_answer
from ittybatch.profiles import Item as SourceItem
from tests.ledger import library


def test_an_item_is_told_with_its_jobs_attempts_webhooks_and_sinks(ledger: Ledger) -> None:
    """A job that failed once and then succeeded, beside one that is still to be sent."""
    ledger.write(sync_sinks, [DeclaredSink("table", "sql", on_accepted=True)])
    batch = library.new_batch(ledger).id
    before = ledger.read(ledger_time)
    first, second = (library.job("a.mov", rendition=name, backoff_s=0) for name in ("sd", "hd"))
    items = [PlannedItem(SourceItem(first.input, fingerprint="1", line=7), [first, second])]
    ledger.write(plan_page, batch, PlannedPage(items, [], {}, "end"), after=None, chunk_size=10)
    ledger.write(finish_planning, batch)
    chunk = library.released_chunk(ledger, batch)
    [sent] = ledger.write(claim_due, chunk, 1)
    library.accept(ledger, [sent])
    arrival = Arrival(b'{"id": "task-0"}', library.failed("task-0"))
    ledger.write(receive, [arrival])
    ledger.write(receive, [arrival])
    again = [each for each in ledger.write(claim_due, chunk, 10) if each.job_id == sent.job_id]
    library.accept(ledger, again, prefix="again")
    ledger.write(settle, [library.remote("again-0")])

    place = ledger.read(item_of_job, sent.job_id)
    assert place is not None
    found = ledger.read(item_history, *place)
    assert found is not None
    assert (found.uri, found.line, found.batch_id) == ("s3://media/a.mov", 7, batch)
    assert found.planned_at is not None
    assert before <= found.planned_at <= ledger.read(ledger_time)
    made, other = found.jobs
    assert (made.state, made.made, made.allowed) == (JobState.SUCCEEDED, 2, 3)
    assert (made.options, made.metadata) == ({"height": 480}, {"show": "pilot"})
    assert [(each.number, each.state, each.task_id) for each in made.attempts] == [
        (1, AttemptState.FAILED, "task-0"),
        (2, AttemptState.SUCCEEDED, "again-0"),
    ]
    assert made.attempts[0].error_message == "preempted"
    [webhook] = made.deliveries
    assert (webhook.verdict, webhook.times, webhook.size_bytes) == (Verdict.APPLIED, 2, 16)
    assert ledger.read(delivery_body, webhook.task_id, webhook.digest) == arrival.body
    assert ledger.read(delivery_body, webhook.task_id, "no such") is None
    assert made.has_poll_answer, "its end was polled"
    assert "again-0" in (ledger.read(poll_answer, made.id) or "")
    assert [(each.sink, each.event) for each in made.sinks] == [
        ("table", "accepted"),
        ("table", "accepted"),
        ("table", "ended"),
    ]
    assert other.sinks == [], "nothing has happened to the other rendition"
    ledger.write(mark, "table", [ledger.read(pending_page, "table", 10).rows[0].id], [])
    told = ledger.read(item_history, *place)
    assert told is not None
    assert told.jobs[0].sinks[0].delivered_at is not None


def test_a_job_that_was_made_again_names_its_other_batches(ledger: Ledger) -> None:
    """So that the failed one links to its retry, and the retry to what failed."""
    _, [failed] = library.submitted(ledger, library.job("a.mov", attempts=1))
    ledger.write(settle, [library.failed("task-0")])
    batch = library.planned_batch(ledger, library.job("a.mov"))
    place = ledger.read(item_of_job, failed.job_id)
    assert place is not None
    found = ledger.read(item_history, *place)
    assert found is not None
    [later] = found.jobs[0].elsewhere
    assert (later.batch_id, later.state) == (batch, JobState.PLANNED)
    back = ledger.read(item_history, later.chunk_id, later.item_number)
    assert back is not None
    assert [each.id for each in back.jobs[0].elsewhere] == [failed.job_id]


def test_a_job_that_is_held_back_says_so(ledger: Ledger) -> None:
    library.submitted(ledger, library.job("a.mov"))
    ledger.write(settle, [library.failed("task-0", "invalid_input", "no video stream")])
    item = ledger.read(lambda tx: tx.rows(select(Item.chunk_id, Item.number)))[0]
    found = ledger.read(item_history, *item)
    assert found is not None
    assert found.jobs[0].held_back
    assert found.jobs[0].error_message == "no video stream"


def test_there_may_be_no_item_and_no_job(ledger: Ledger) -> None:
    assert ledger.read(item_of_job, 4711) is None
    assert ledger.read(item_history, 4711, 0) is None
    assert ledger.read(poll_answer, 4711) is None
