"""How far renditions are: as many jobs as there are rows, without counting them each time."""

from collections import Counter

import pytest
from sqlalchemy import delete, func, select, update

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.batches import finish_planning
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.control import cancel_batch
from ittybatch.ledger.counters import COLUMNS, column_of
from ittybatch.ledger.models import ChunkShare, ChunkTotals, Job
from ittybatch.ledger.plan import PlannedItem
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.progress import BatchProgress, batch_progress
from ittybatch.ledger.retention import tidy
from ittybatch.ledger.settlement import expire, settle
from ittybatch.ledger.shares import count_changed_shares
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import claim_due
from ittybatch.profiles import Item
from tests.ledger import library
from tests.ledger.test_retention import MONTH

RENDITIONS = ("hd", "sd")


def _batch(ledger: Ledger, items: int = 6, chunk_size: int = 2) -> str:
    """A batch with two renditions of each item, in chunks of two items."""
    batch = library.new_batch(ledger).id
    planned = []
    for number in range(items):
        jobs = [library.job(f"{number}.mov", rendition=each, attempts=2) for each in RENDITIONS]
        planned.append(PlannedItem(Item(jobs[0].input, fingerprint="1"), jobs))
    page = library.page(items=planned)
    ledger.write(plan_page, batch, page, after=None, chunk_size=chunk_size)
    ledger.write(finish_planning, batch)
    return batch


def _rows(ledger: Ledger, batch: str) -> dict[str, Counter[str]]:
    """The same from the rows themselves."""
    found: dict[str, Counter[str]] = {}
    for row in library.rows(ledger, batch):
        found.setdefault(row.rendition, Counter())[column_of(row.state)] += 1
        found[row.rendition]["sent"] += row.attempts
    return found


def _progress(ledger: Ledger, batch: str, **limits: int) -> BatchProgress:
    return ledger.read(batch_progress, [batch], **limits)[batch]


def _agree(ledger: Ledger, batch: str, **limits: int) -> BatchProgress:
    found = _progress(ledger, batch, **limits)
    counted = {
        one.rendition: Counter({name: getattr(one, name) for name in (*COLUMNS, "sent")})
        for one in found.renditions
    }
    assert counted == _rows(ledger, batch)
    assert found.exact
    return found


def _submit(ledger: Ledger, batch: str, prefix: str) -> tuple[int, list[str]]:
    chunk = library.released_chunk(ledger, batch)
    sent = ledger.write(claim_due, chunk, 100)
    library.accept(ledger, sent, prefix)
    return chunk, [f"{prefix}-{number}" for number in range(len(sent))]


@pytest.mark.parametrize("live_jobs", [1000, 4])
def test_renditions_are_counted_at_every_step_of_a_batch(ledger: Ledger, live_jobs: int) -> None:
    """Also if only one chunk's jobs may be counted: the rest follows from the plan."""
    batch = _batch(ledger)
    _agree(ledger, batch, live_jobs=live_jobs)
    chunk, tasks = _submit(ledger, batch, "one")
    _agree(ledger, batch, live_jobs=live_jobs)
    ledger.write(settle, [library.remote(tasks[0]), library.failed(tasks[1], "invalid_input")])
    _agree(ledger, batch, live_jobs=live_jobs)
    ledger.write(settle, [library.failed(each) for each in tasks[2:]])
    _agree(ledger, batch, live_jobs=live_jobs)
    ledger.write(_let_retries_be_due)
    again = ledger.write(claim_due, chunk, 100)
    library.accept(ledger, again, "again")
    ledger.write(settle, [library.remote("again-0"), library.failed("again-1")])
    assert ledger.write(finish_chunk, chunk)
    found = _agree(ledger, batch, live_jobs=live_jobs)
    assert found.sent_by_kind == {"video": 6}
    _submit(ledger, batch, "two")
    _agree(ledger, batch, live_jobs=live_jobs)
    ledger.write(cancel_batch, batch, "Enough.")
    _agree(ledger, batch)
    assert count_changed_shares(ledger) == 1, "the chunk that had not begun"
    _agree(ledger, batch, live_jobs=live_jobs)


def _let_retries_be_due(tx: Transaction) -> None:
    tx.execute(update(Job).where(Job.not_before.is_not(None)).values(not_before=tx.now))


def test_a_job_that_succeeds_after_its_chunk_was_done_is_counted_as_succeeded(
    ledger: Ledger,
) -> None:
    """It was given up and counted so. The shares of its chunk do not hold any more."""
    batch = _batch(ledger, items=2)
    chunk, tasks = _submit(ledger, batch, "task")
    ledger.write(settle, [library.remote(each) for each in tasks[1:]])
    ledger.write(_pass_deadlines)
    [late] = [row.id for row in library.rows(ledger, batch) if row.state is JobState.SUBMITTED]
    assert ledger.write(expire, late)
    assert ledger.write(finish_chunk, chunk)
    assert count_changed_shares(ledger) == 0
    before = _agree(ledger, batch)
    assert sum(one.expired for one in before.renditions) == 1
    ledger.write(settle, [library.remote(tasks[0])])
    after = _agree(ledger, batch)
    assert sum(one.expired for one in after.renditions) == 0
    assert count_changed_shares(ledger) == 1
    _agree(ledger, batch, live_jobs=0)


def _pass_deadlines(tx: Transaction) -> None:
    tx.execute(update(Job).where(Job.state == JobState.SUBMITTED.value).values(deadline_at=tx.now))


def test_done_chunks_are_read_from_their_shares_and_tidying_leaves_them(ledger: Ledger) -> None:
    """A page of a batch of a million jobs reads one row a rendition and chunk."""
    batch = _batch(ledger, items=4)
    for prefix in ("one", "two"):
        chunk, tasks = _submit(ledger, batch, prefix)
        ledger.write(settle, [library.remote(each) for each in tasks])
        ledger.write(finish_chunk, chunk)
    shares = ledger.read(lambda tx: tx.execute(select(func.count(ChunkShare.kind))).scalar_one())
    assert shares == 4
    tidy(ledger, older_than=-MONTH)
    _agree(ledger, batch, live_jobs=0)
    ledger.write(lambda tx: tx.execute(delete(ChunkTotals)))
    _agree(ledger, batch)
    about = _progress(ledger, batch, live_jobs=0)
    assert not about.exact, "too many to count: each rendition gets its share"
    assert [(one.rendition, one.succeeded) for one in about.renditions] == [("hd", 4), ("sd", 4)]


def test_batches_are_told_apart(ledger: Ledger) -> None:
    first = _batch(ledger, items=2)
    second = library.planned_batch(ledger, library.job("other.mov", rendition="poster"))
    found = ledger.read(batch_progress, [first, second])
    assert [one.jobs for one in found[first].renditions] == [2, 2]
    assert [one.rendition for one in found[second].renditions] == ["poster"]
