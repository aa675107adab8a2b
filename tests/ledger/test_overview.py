"""The overview: which batches a list shows, and in which order."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.control import cancel_batch, hold_batch
from ittybatch.ledger.models import Batch
from ittybatch.ledger.overview import BatchFilter, Overview, overview
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState
from tests.ledger import library
from tests.ledger.test_queries import _ended as idle_batch

EVERY = BatchFilter()


def _ids(found: Overview) -> list[str]:
    return [row.status.id for row in (*found.open, *found.ended)]


def _cancelled(ledger: Ledger, name: str, number: int) -> str:
    """A batch that has ended, begun a number of days ago."""
    batch = library.planned_batch(ledger, library.job(f"{name}.mov"))
    ledger.write(cancel_batch, batch, "Enough.")

    def age(tx: Transaction) -> str:
        then = tx.now - timedelta(days=number)
        tx.execute(update(Batch).where(Batch.id == batch).values(name=name, created_at=then))
        return batch

    return ledger.write(age)


def test_batches_under_way_come_first_then_pages_of_those_that_ended(ledger: Ledger) -> None:
    """Held ones need somebody, so they are among the first."""
    held = library.planned_batch(ledger, library.job("held.mov"))
    ledger.write(hold_batch, held, "Look at it.")
    ended = sorted((_cancelled(ledger, f"n{number}", number) for number in range(5)), reverse=True)
    running = library.planned_batch(ledger, library.job("running.mov"))
    first = ledger.read(overview, EVERY, limit=3)
    assert {row.status.id for row in first.open} == {held, running}
    assert [row.status.id for row in first.ended] == ended[:3]
    second = ledger.read(overview, EVERY, after=first.next, limit=3)
    assert _ids(second) == ended[3:]
    assert second.next is None


def test_filters_narrow_both_parts(ledger: Ledger) -> None:
    """By name or id, state and time; a per cent sign is no wildcard."""
    old = _cancelled(ledger, "Archive 100%", 30)
    new = _cancelled(ledger, "nightly", 1)
    running = library.planned_batch(ledger, library.job("a.mov"))
    idle = idle_batch(ledger)
    now = ledger.read(lambda tx: tx.now)
    cases = [
        (BatchFilter(), {old, new, running}),
        (BatchFilter(idle=True), {old, new, running, idle}),
        (BatchFilter(text="archive 100%"), {old}),
        (BatchFilter(text="100_"), set()),
        (BatchFilter(text=new[-6:].upper()), {new}),
        (BatchFilter(states=[BatchState.CANCELLED]), {old, new}),
        (BatchFilter(states=[BatchState.RUNNING]), {running}),
        (BatchFilter(since=now - timedelta(days=2)), {new, running}),
        (BatchFilter(until=now - timedelta(days=2)), {old}),
    ]
    for wanted, expected in cases:
        assert set(_ids(ledger.read(overview, wanted))) == expected, wanted


def test_a_row_says_how_fast_and_what_was_sent(ledger: Ledger) -> None:
    chunk, _ = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    ledger.write(settle, [library.remote("task-0")])
    [row] = ledger.read(overview, EVERY).open
    assert row.status.id == library.place(ledger, chunk).batch_id
    assert (row.status.counts["succeeded"], row.status.counts["in_flight"]) == (1, 1)
    assert row.progress.sent_by_kind == {"video": 2}
    assert row.per_minute is None, "the end that Ittybit told lies days back"


def test_a_search_that_finds_nothing_says_how_far_it_looked(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = sorted(_cancelled(ledger, f"n{number}", number) for number in range(3))
    monkeypatch.setattr("ittybatch.ledger.overview.LOOKED_AT", 2)
    first = ledger.read(overview, BatchFilter(text="n", states=[BatchState.SUCCEEDED]))
    assert (_ids(first), first.looked_at, first.next) == ([], 2, batches[1])
    rest = ledger.read(overview, BatchFilter(text="n"), after=first.next)
    assert (_ids(rest), rest.looked_at, rest.next) == (batches[:1], 1, None)
