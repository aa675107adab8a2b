"""Planning: each job only once, whatever is scanned how often."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import select

from ittybatch.ledger import Ledger, Transaction, lookups
from ittybatch.ledger.batches import UnknownBatch, finish_planning, job_totals, read_batch
from ittybatch.ledger.claims import Claims
from ittybatch.ledger.control import cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.counters import recount
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.models import Chunk, Item, Job
from ittybatch.ledger.plan import PlannedItem, PlannedReject
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.results import reject_rows
from ittybatch.ledger.retrying import RetryFilter, ended_jobs
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import claim_due
from tests.ledger import library


def test_a_batch_is_adopted_by_the_flow_run_that_opened_it(ledger: Ledger) -> None:
    """A second leg of the same flow run gets the same batch."""
    first = library.new_batch(ledger, flow_run_id="run-1")
    assert library.new_batch(ledger, flow_run_id="run-1").id == first.id
    assert library.new_batch(ledger, flow_run_id="run-2").id != first.id


def test_a_replacing_run_adopts_the_batch_it_is_told(ledger: Ledger) -> None:
    """A run made for a batch that lost its own goes on with that batch."""
    first = library.new_batch(ledger, flow_run_id="run-1")
    assert library.new_batch(ledger, flow_run_id="run-9", adopt=first.id).id == first.id
    with pytest.raises(UnknownBatch, match="no batch 'nowhere'"):
        library.new_batch(ledger, adopt="nowhere")


def test_items_fill_chunks_in_order(ledger: Ledger) -> None:
    """Five items at two a chunk are three chunks, also over several pages."""
    batch = library.new_batch(ledger).id
    names = [f"{number}.mov" for number in range(5)]
    first = library.page(*map(library.job, names[:3]), cursor="1")
    second = library.page(*map(library.job, names[3:]), cursor="2")
    ledger.write(plan_page, batch, first, after=None, chunk_size=2)
    ledger.write(plan_page, batch, second, after="1", chunk_size=2)
    sizes = ledger.read(
        lambda tx: tx.rows(select(Chunk.items, Chunk.planned).order_by(Chunk.number))
    )
    assert [tuple(row) for row in sizes] == [(2, 2), (2, 2), (1, 1)]
    numbers = ledger.read(lambda tx: tx.rows(select(Item.number, Item.uri).order_by(Item.number)))
    assert [row.uri for row in numbers] == [f"s3://media/{name}" for name in names]
    assert [row.number for row in numbers] == [0, 1, 2, 3, 4]


def test_a_page_committed_before_is_passed_over(ledger: Ledger) -> None:
    """A crash after the commit makes the next leg bring the same page: it counts once."""
    batch = library.new_batch(ledger).id
    page = library.page(library.job("a.mov"), cursor="1")
    ledger.write(plan_page, batch, page, after=None, chunk_size=10)
    counts = ledger.write(plan_page, batch, page, after=None, chunk_size=10)
    assert counts["jobs"] == 1
    assert ledger.read(read_batch, batch).scan_cursor == "1"


def test_a_job_named_twice_is_made_once(ledger: Ledger) -> None:
    """In one page and in the next."""
    batch = library.new_batch(ledger).id
    job = library.job("a.mov")
    ledger.write(plan_page, batch, library.page(job, job, cursor="1"), after=None, chunk_size=10)
    counts = ledger.write(plan_page, batch, library.page(job, cursor="2"), after="1", chunk_size=10)
    assert (counts["jobs"], counts["duplicates"]) == (1, 2)


def test_what_succeeded_is_not_made_again(ledger: Ledger) -> None:
    """Twice is once."""
    library.submitted(ledger, library.job("a.mov"))
    ledger.write(settle, [library.remote("task-0")])
    second = library.planned_batch(ledger, library.job("a.mov"), library.job("b.mov"))
    counts = ledger.read(read_batch, second).counts
    assert (counts["jobs"], counts["already_done"]) == (1, 1)


def test_what_is_in_flight_elsewhere_is_not_made_again(ledger: Ledger) -> None:
    """A nightly run that overlaps the one before leaves its jobs to it."""
    library.submitted(ledger, library.job("a.mov"))
    library.planned_batch(ledger, library.job("b.mov"))
    third = library.planned_batch(ledger, library.job("a.mov"), library.job("b.mov"))
    counts = ledger.read(read_batch, third).counts
    assert counts["in_flight_elsewhere"] == 2
    assert counts.get("jobs", 0) == 0


def test_a_permanent_failure_is_held_back_and_retried_only_by_name(ledger: Ledger) -> None:
    """Tomorrow's run does not pay for it again; `retry` does, under the next attempt."""
    chunk, [sent] = library.submitted(ledger, library.job("a.mov"))
    first = library.place(ledger, chunk).batch_id
    ledger.write(settle, [library.failed("task-0", "invalid_input", "could not decode")])
    second = library.planned_batch(ledger, library.job("a.mov"))
    assert ledger.read(read_batch, second).counts["held_back"] == 1

    [ended] = ledger.read(ended_jobs, RetryFilter(first, ["failed"]), after=0, limit=10)
    third = library.new_batch(ledger).id
    ledger.write(
        plan_page, third, library.page(ended.job, again=[ended.id]), after=None, chunk_size=10
    )
    ledger.write(finish_planning, third)
    [again] = ledger.write(claim_due, library.released_chunk(ledger, third), 10)
    assert again.attempt == 2
    assert again.idempotency_key != sent.idempotency_key


def test_a_failure_that_may_pass_is_free_for_the_next_batch(ledger: Ledger) -> None:
    """Attempts go on counting: a used Idempotency-Key would replay the failed job."""
    _, [sent] = library.submitted(ledger, library.job("a.mov", attempts=1))
    ledger.write(settle, [library.failed("task-0")])
    chunk, [again] = library.claimed(ledger, library.job("a.mov", attempts=1))
    assert (sent.attempt, again.attempt) == (1, 2)
    assert library.place(ledger, chunk).in_flight == 1


def test_jobs_that_a_held_batch_never_sent_are_taken_over(ledger: Ledger) -> None:
    """They would otherwise wait for an operator for ever; both batches stay truthful."""
    held = library.planned_batch(ledger, library.job("a.mov"))
    ledger.write(hold_batch, held, "401")
    taker = library.planned_batch(ledger, library.job("a.mov"))
    assert ledger.read(read_batch, taker).counts["jobs"] == 1
    [left] = library.rows(ledger, held)
    assert left.state is JobState.CANCELLED
    assert taker in str(left.error_message)
    assert ledger.read(job_totals, held)["cancelled"] == 1


def test_two_batches_planned_at_once_share_no_job(ledger: Ledger) -> None:
    """A scheduled run and a click in the UI at the same second."""
    jobs = [library.job(f"{number}.mov") for number in range(40)]
    batches = [library.new_batch(ledger).id for _ in range(4)]

    def plan(batch: str) -> int:
        counts = ledger.write(plan_page, batch, library.page(*jobs), after=None, chunk_size=10)
        return counts.get("jobs", 0)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(plan, batches)) == [0, 0, 0, 40]


def test_rejects_are_kept_with_their_lines(ledger: Ledger) -> None:
    """A crash between the scan and the rejects file loses none of them."""
    batch = library.new_batch(ledger).id
    bad = PlannedReject(7, "options", "not JSON", "a.mov,{")
    page = library.page(library.job("a.mov"), rejects=[bad])
    counts = ledger.write(plan_page, batch, page, after=None, chunk_size=10)
    assert counts["rejected"] == 1
    [row] = ledger.read(reject_rows, batch)
    assert (row["line"], row["field"], row["reason"]) == (7, "options", "not JSON")


def test_a_job_named_twice_is_taken_over_once(ledger: Ledger) -> None:
    """From a batch that will not send it: its counters would go astray otherwise."""
    held = library.planned_batch(ledger, library.job("a.mov"))
    ledger.write(hold_batch, held, "paused")
    batch = library.planned_batch(ledger, library.job("a.mov"), library.job("a.mov"))
    assert len(library.rows(ledger, batch)) == 1
    for each in (held, batch):
        assert ledger.write(recount, each) == []


def test_two_renditions_that_come_to_the_same_are_one_job(ledger: Ledger) -> None:
    """One item, one output: the second would only be paid for again."""
    batch = library.new_batch(ledger).id
    one, same = library.job("a.mov"), library.job("a.mov")
    page = library.page(one)
    page = replace(page, items=[PlannedItem(page.items[0].item, [one, same])])
    counts = ledger.write(plan_page, batch, page, after=None, chunk_size=10)
    assert (counts["jobs"], counts["duplicates"]) == (1, 1)
    assert ledger.write(recount, batch) == []


def test_a_batch_never_takes_over_its_own_jobs(ledger: Ledger) -> None:
    """A pause while identical rows are read: the second is a duplicate, and cancels nothing."""
    batch = library.new_batch(ledger).id
    page = library.page(library.job("a.mov"))
    ledger.write(plan_page, batch, page, after=None, chunk_size=10)
    ledger.write(hold_batch, batch, "Paused by an operator.")

    def plan_again(tx: Transaction) -> Counter[str]:
        counts: Counter[str] = Counter()
        claims = Claims(tx, batch, page)
        assert claims.sort(page, counts) == []
        claims.take_over(tx)
        return counts

    assert ledger.write(plan_again) == {"duplicates": 1}
    assert ledger.read(job_totals, batch)["cancelled"] == 0
    assert [row.state for row in library.rows(ledger, batch)] == [JobState.PLANNED]


def test_what_a_source_gives_again_after_a_break_is_a_duplicate(ledger: Ledger) -> None:
    """Its batch was held half way; a resumed leg reads on, from a source that has shifted."""
    batch = library.new_batch(ledger).id
    names = [library.job(f"{number}.mov") for number in range(4)]
    ledger.write(plan_page, batch, library.page(*names[:3], cursor="1"), after=None, chunk_size=2)
    ledger.write(hold_batch, batch, "The source cannot be read.")
    ledger.write(resume_batch, batch)
    again = library.page(*names[1:], cursor="2")
    counts = ledger.write(plan_page, batch, again, after="1", chunk_size=2)
    assert (counts["jobs"], counts["duplicates"]) == (4, 2)
    assert ledger.read(job_totals, batch)["cancelled"] == 0
    assert ledger.write(recount, batch) == []


def _resumed_and_claimed(ledger: Ledger, held: str) -> Callable[[], None]:
    """Lets a held batch go on, and claims what it has."""

    def go_on() -> None:
        ledger.write(resume_batch, held)
        ledger.write(claim_due, library.released_chunk(ledger, held), 10)

    return go_on


def _cancelled(ledger: Ledger, held: str) -> Callable[[], None]:
    """Cancels it."""

    def cancel() -> None:
        ledger.write(cancel_batch, held, "No longer wanted.")

    return cancel


@pytest.mark.parametrize("what", [_resumed_and_claimed, _cancelled])
def test_a_take_over_that_comes_too_late_counts_nothing(
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    what: Callable[[Ledger, str], Callable[[], None]],
) -> None:
    """Between the look and the change, the other batch goes on or is cancelled."""
    job = library.job("a.mov")
    with closing(Ledger(create_ledger_engine(postgres_url), patience_s=5)) as ledger:
        held = library.planned_batch(ledger, job, library.job("b.mov"))
        ledger.write(hold_batch, held, "paused")
        meanwhile, look = what(ledger, held), lookups.jobs_of_keys

        def look_and_let_it_happen(tx: Transaction, keys: Sequence[str]) -> object:
            found = look(tx, keys)
            meanwhile()
            return found

        monkeypatch.setattr("ittybatch.ledger.claims.jobs_of_keys", look_and_let_it_happen)
        taker = library.planned_batch(ledger, job)
        for each in (held, taker):
            assert min(ledger.read(job_totals, each).values()) >= 0
            assert ledger.write(recount, each) == []
        claimed = select(Job.id).where(Job.job_key == job.job_key, Job.claim.is_not(None))
        assert len(ledger.read(lambda tx: tx.rows(claimed))) == 1
