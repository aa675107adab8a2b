"""Queries: what a batch's abbreviations mean."""

from typing import TYPE_CHECKING

from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import end_batch, finish_planning
from ittybatch.ledger.control import hold_batch
from ittybatch.ledger.plan import PlannedReject
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.queries import find_batch, idle_batches, recent_batches
from tests.ledger import library

if TYPE_CHECKING:
    from collections.abc import Callable


def _ended(ledger: Ledger, *rejects: PlannedReject) -> str:
    """A batch without jobs that has ended."""
    batch = library.new_batch(ledger).id
    page = library.page(rejects=list(rejects))
    ledger.write(plan_page, batch, page, after=None, chunk_size=10)
    ledger.write(finish_planning, batch)
    ledger.write(end_batch, batch)
    return batch


def test_the_latest_batch_is_the_newest_that_did_something(ledger: Ledger) -> None:
    """Jobs, rows to be looked at, a batch that is under way or held: all of these count."""
    assert ledger.read(find_batch, _ended(ledger)) == ledger.read(find_batch, "latest")
    begins: list[Callable[[], str]] = [
        lambda: library.planned_batch(ledger, library.job("a.mov")),
        lambda: _ended(ledger, PlannedReject(7, "options", "not JSON", "a.mov,{")),
        lambda: library.new_batch(ledger).id,
        lambda: _held(ledger),
    ]
    for begin in begins:
        batch = begin()
        idle = _ended(ledger)
        assert ledger.read(find_batch, "latest") == batch
        shown = [each.id for each in ledger.read(recent_batches)]
        assert shown[0] == batch
        assert idle not in shown
        assert idle in [each.id for each in ledger.read(recent_batches, idle=True)]
    assert ledger.read(idle_batches) == 5


def _held(ledger: Ledger) -> str:
    batch = library.new_batch(ledger).id
    ledger.write(hold_batch, batch, "The source cannot be read.")
    return batch
