"""Retention: what only serves a look back goes; what decides about money stays."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.batches import end_batch
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.intake import find_taken, take
from ittybatch.ledger.models import Attempt, Batch, Delivery, Job, Outbox, Reject, Request
from ittybatch.ledger.overdue import expired_jobs
from ittybatch.ledger.pending import mark, pending_page
from ittybatch.ledger.plan import PlannedReject
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.quarantine import held_jobs
from ittybatch.ledger.queries import batch_status, find_batch
from ittybatch.ledger.results import all_job_rows, failure_reasons, reject_rows, result_pages
from ittybatch.ledger.retention import tidy
from ittybatch.ledger.retrying import RetryFilter, ended_jobs
from ittybatch.ledger.settlement import expire, settle
from ittybatch.ledger.sinks import DeclaredSink, sync_sinks
from ittybatch.ledger.states import BatchState, JobState, Verdict
from ittybatch.ledger.submission import claim_due
from tests.ledger import library

MONTH = timedelta(days=30)
OLD = timedelta(days=40)


def _count(ledger: Ledger, table: type) -> int:
    query = select(func.count()).select_from(table)
    return int(ledger.read(lambda tx: tx.execute(query).scalar_one()))


def _outcomes(ledger: Ledger) -> int:
    query = select(func.count()).where(Job.outcome.is_not(None))
    return int(ledger.read(lambda tx: tx.execute(query).scalar_one()))


def _age(ledger: Ledger, batch: str | None) -> None:
    """Let a batch and all webhooks be old."""

    def age(tx: Transaction) -> None:
        then = tx.now - OLD
        tx.execute(update(Delivery).values(received_at=then, last_received_at=then))
        tx.execute(update(Batch).where(Batch.id == batch).values(ended_at=then))

    ledger.write(age)


@pytest.fixture
def night(ledger: Ledger) -> tuple[Ledger, str]:
    """A batch that has ended: two jobs by webhook, one by poll, one expired, one reject."""
    names = ("a", "b", "c", "d")
    batch = library.new_batch(ledger).id
    page = library.page(
        *(library.job(f"{name}.mov") for name in names),
        rejects=[PlannedReject(7, "input", "It is empty.", "x,,")],
    )
    ledger.write(plan_page, batch, page, after=None, chunk_size=10)
    ledger.write(lambda tx: tx.execute(update(Batch).values(state=BatchState.RUNNING.value)))
    chunk = library.released_chunk(ledger, batch)
    sent = ledger.write(claim_due, chunk, 10)
    library.accept(ledger, sent)
    bad = library.failed("task-1", "invalid_input", "no such codec")
    ledger.write(receive, [Arrival(b"good", library.remote("task-0")), Arrival(b"bad", bad)])
    ledger.write(settle, [library.remote("task-2")])
    ledger.write(lambda tx: tx.execute(update(Job).values(deadline_at=tx.now)))
    assert ledger.write(expire, sent[3].job_id)
    assert ledger.write(finish_chunk, chunk)
    assert ledger.write(end_batch, batch).state is BatchState.SOME_FAILED
    return ledger, batch


def test_bodies_outcomes_and_rejects_of_an_old_batch_go(night: tuple[Ledger, str]) -> None:
    """A dry run counts them first, and the batch says when they went."""
    ledger, batch = night
    ledger.write(receive, [Arrival(b"\xff", None), Arrival(b"odd", library.remote("no-task"))])
    _age(ledger, batch)
    counted = tidy(ledger, older_than=MONTH, dry_run=True)
    assert (counted.batches, counted.deliveries, counted.outcomes, counted.rejects) == (1, 4, 1, 1)
    assert counted.size_bytes > len(b"good" + b"bad" + b"odd" + b"\xff")
    assert (_count(ledger, Delivery), _outcomes(ledger), _count(ledger, Reject)) == (4, 1, 1)
    assert ledger.read(batch_status, batch).tidied_at is None
    assert tidy(ledger, older_than=MONTH) == counted
    assert (_count(ledger, Delivery), _outcomes(ledger), _count(ledger, Reject)) == (0, 0, 0)
    assert ledger.read(batch_status, batch).tidied_at is not None
    again = tidy(ledger, older_than=MONTH)
    assert (again.batches, again.deliveries, again.size_bytes) == (0, 0, 0)


def test_what_is_new_or_under_way_stays(night: tuple[Ledger, str]) -> None:
    """However old its webhooks are, while its batch goes on or ended only lately."""
    ledger, batch = night
    _age(ledger, None)
    assert tidy(ledger, older_than=MONTH).deliveries == 0, "its batch ended today"
    _age(ledger, batch)
    chunk, sent = library.claimed(ledger, library.job("e.mov"), library.job("f.mov"))
    library.accept(ledger, sent, "later")
    ledger.write(receive, [Arrival(b"half", library.remote("later-0"))])
    other = library.place(ledger, chunk).batch_id
    _age(ledger, other)
    tidy(ledger, older_than=MONTH)
    assert ledger.read(batch_status, other).tidied_at is None
    assert _count(ledger, Delivery) == 1, "a job of its batch is still at Ittybit"


def test_claims_and_results_stay(night: tuple[Ledger, str]) -> None:
    """Nothing is made again, and every question about the batch has its answer."""
    ledger, batch = night
    before = list(all_job_rows(ledger, batch))
    reasons = ledger.read(failure_reasons, batch)
    _age(ledger, batch)
    tidy(ledger, older_than=MONTH)
    assert list(all_job_rows(ledger, batch)) == before
    assert ledger.read(failure_reasons, batch) == reasons
    assert ledger.read(reject_rows, batch) == []
    assert sum(len(page) for page in result_pages(ledger, batch)) == len(before)
    assert ledger.read(find_batch, "latest") == batch
    assert len(ledger.read(held_jobs)) == 2
    wanted = RetryFilter(batch, [JobState.FAILED.value, JobState.EXPIRED.value])
    assert len(ledger.read(ended_jobs, wanted, after=0, limit=10)) == 2
    assert len(ledger.read(expired_jobs, batch)) == 1
    again = library.planned_batch(ledger, *(library.job(f"{name}.mov") for name in "abcd"))
    assert ledger.read(batch_status, again).counts["jobs"] == 0
    assert _count(ledger, Attempt) == 4


def test_webhooks_that_come_after_it_are_understood(night: tuple[Ledger, str]) -> None:
    """A repeat changes nothing, and a late success of a job that was given up is taken."""
    ledger, batch = night
    _age(ledger, batch)
    tidy(ledger, older_than=MONTH)
    good = Arrival(b"good", library.remote("task-0"))
    assert ledger.write(receive, [good]) == [Verdict.DUPLICATE]
    late = Arrival(b"late", library.remote("task-3"))
    assert ledger.write(receive, [late]) == [Verdict.APPLIED]
    assert ledger.read(batch_status, batch).counts["succeeded"] == 3
    assert _count(ledger, Delivery) == 2
    _age(ledger, batch)
    assert tidy(ledger, older_than=MONTH).deliveries == 2, "those go in their turn"


def test_delivered_results_go_and_those_that_wait_stay(ledger: Ledger) -> None:
    """Refused ones, too: `ittybatch sinks retry` sends them again."""
    ledger.write(sync_sinks, [DeclaredSink("table", "sql")])
    library.submitted(ledger, *(library.job(f"{name}.mov") for name in "abcd"))
    ledger.write(settle, [library.remote(f"task-{number}") for number in range(4)])
    old, new, refused, waiting = (row.id for row in ledger.read(pending_page, "table", 10).rows)
    ledger.write(mark, "table", [old, new], [(refused, "no such column")])
    then = ledger.read(lambda tx: tx.now) - OLD
    age = update(Outbox).where(Outbox.id == old).values(delivered_at=then)
    ledger.write(lambda tx: tx.execute(age))
    assert tidy(ledger, older_than=MONTH, dry_run=True).delivered == 1
    assert _count(ledger, Outbox) == 4
    assert tidy(ledger, older_than=MONTH).delivered == 1
    assert tidy(ledger, older_than=MONTH).delivered == 0
    left = ledger.read(lambda tx: tx.rows(select(Outbox.id).order_by(Outbox.id)))
    assert [row.id for row in left] == [new, refused, waiting]


def test_it_is_resumed_where_it_was_cut_off(
    night: tuple[Ledger, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch counts as tidied once all of it is."""
    ledger, batch = night
    _age(ledger, batch)
    with monkeypatch.context() as patched:

        def die(*_: object, **__: object) -> None:
            raise MemoryError

        patched.setattr("ittybatch.ledger.retention._tidy_rejects", die)
        with pytest.raises(MemoryError):
            tidy(ledger, older_than=MONTH)
    assert (_count(ledger, Delivery), _count(ledger, Reject)) == (0, 1)
    assert ledger.read(batch_status, batch).tidied_at is None
    assert tidy(ledger, older_than=MONTH).rejects == 1
    assert ledger.read(batch_status, batch).tidied_at is not None


def test_it_goes_on_in_small_steps(
    night: tuple[Ledger, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each a transaction, so that a receiver waits for none of them for long."""
    ledger, batch = night
    _age(ledger, batch)
    monkeypatch.setattr("ittybatch.ledger.retention._ROWS_AT_ONCE", 1)
    removed = tidy(ledger, older_than=MONTH)
    assert (removed.deliveries, removed.outcomes, removed.rejects) == (2, 1, 1)
    assert (_count(ledger, Delivery), _outcomes(ledger), _count(ledger, Reject)) == (0, 0, 0)


def test_answers_to_requests_with_a_key_go_after_two_days(ledger: Ledger) -> None:
    """Nobody repeats a request later; and its jobs would be known all the same."""
    for name in ("old", "new"):
        order = library.order(library.job(f"{name}.mov"), key=name, digest="body")
        ledger.write(take, [order], send=False, lease_s=60.0)
    _age_requests(ledger, 3, "old")
    assert tidy(ledger, older_than=MONTH, dry_run=True).requests == 1
    assert tidy(ledger, older_than=MONTH).requests == 1
    rows = ledger.read(lambda tx: tx.rows(select(Request.key)))
    assert [row.key for row in rows] == ["new"]
    assert tidy(ledger, older_than=MONTH).requests == 0


def test_answers_to_flow_runs_stay_as_long_as_these_may_sleep(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that wakes finds its jobs, and may sleep as long again; pages are passed over for it."""
    monkeypatch.setattr("ittybatch.ledger.retention._ROWS_AT_ONCE", 2)
    flow_runs = [f"flow-{number}" for number in range(5)]
    for name in (*flow_runs, "client-1", "client-2"):
        order = library.order(
            library.job("a.mov"), key=name, digest="body", by_flow_run=name in flow_runs
        )
        ledger.write(take, [order], send=False, lease_s=60.0)
    _age_requests(ledger, 36, *flow_runs)
    _age_requests(ledger, 3, "client-1", "client-2")
    assert tidy(ledger, older_than=MONTH, dry_run=True).requests == 2
    assert tidy(ledger, older_than=MONTH).requests == 2
    _age_requests(ledger, 38, *flow_runs)
    week = timedelta(days=7)
    assert tidy(ledger, older_than=MONTH, flow_runs_sleep=MONTH + week).requests == 0
    assert ledger.write(find_taken, "flow-0", "", renew=True) is not None
    assert ledger.write(find_taken, "flow-1", "another body", renew=True) is None
    assert tidy(ledger, older_than=MONTH).requests == 4
    assert ledger.read(find_taken, "flow-0", "") is not None


def _age_requests(ledger: Ledger, days: int, *keys: str) -> None:
    """Let requests with these keys have been made days ago, all in one moment."""

    def age(tx: Transaction) -> None:
        then = tx.now - timedelta(days=days)
        tx.execute(update(Request).where(Request.key.in_(keys)).values(created_at=then))

    ledger.write(age)
