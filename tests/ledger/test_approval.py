"""Approval: a plan that costs nothing before somebody has looked at it."""

from sqlalchemy import select

from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import finish_planning, read_batch
from ittybatch.ledger.chunks import release_chunks
from ittybatch.ledger.control import approve, cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.legs import Ending, ask, asked_leg, begin_leg, end_run
from ittybatch.ledger.models import Run
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.runs import ready_runs, unmade_runs
from ittybatch.ledger.states import BatchState, JobState, RunState
from tests.ledger import library


def _unapproved(ledger: Ledger, name: str = "a.mov") -> str:
    batch = library.new_batch(ledger).id
    ledger.write(plan_page, batch, library.page(library.job(name)), after=None, chunk_size=10)
    ledger.write(finish_planning, batch, "Too many jobs.")
    return batch


def test_nothing_is_released_before_it_is_approved(ledger: Ledger) -> None:
    """Whoever asks for chunks gets none."""
    batch = _unapproved(ledger)
    assert ledger.read(read_batch, batch).state is BatchState.UNAPPROVED
    assert ledger.write(release_chunks, batch, 4) == []
    assert ledger.write(approve, batch)
    assert len(ledger.write(release_chunks, batch, 4)) == 1


def test_the_run_that_asks_waits_until_the_approval_wakes_it(ledger: Ledger) -> None:
    """At no cost, for as long as it takes."""
    batch = _unapproved(ledger)
    leg = ledger.write(begin_leg, batch_owner(batch), None)
    assert leg is not None
    ledger.write(ask, leg, "run-1")
    assert ledger.read(asked_leg, batch, "run-1") == leg.number
    assert ledger.read(asked_leg, batch, "run-2") is None, "its form is another one"
    state = select(Run.state).where(Run.batch_id == batch)
    assert ledger.read(lambda tx: tx.execute(state).scalar_one()) == RunState.WAITING
    assert ledger.read(ready_runs) == []
    ledger.write(approve, batch)
    assert [run.owner for run in ledger.read(ready_runs)] == [batch_owner(batch)]


def test_a_paused_plan_that_is_resumed_asks_again_in_a_new_run(ledger: Ledger) -> None:
    """Its run has ended with the pause: without a new one nobody would see that it asks."""
    batch = _unapproved(ledger)
    leg = ledger.write(begin_leg, batch_owner(batch), None)
    assert leg is not None
    ledger.write(hold_batch, batch, "Paused by Ann.")
    assert ledger.write(end_run, leg) is Ending.ENDED
    assert ledger.write(resume_batch, batch)
    assert ledger.read(read_batch, batch).state is BatchState.UNAPPROVED
    assert [run.owner for run in ledger.read(unmade_runs, batch)] == [batch_owner(batch)]


def test_a_paused_plan_that_is_resumed_while_its_leg_ends_asks_in_that_run(
    ledger: Ledger,
) -> None:
    """The leg looks once more; one that found its plan unapproved just now may end."""
    batch = _unapproved(ledger)
    leg = ledger.write(begin_leg, batch_owner(batch), None)
    assert leg is not None
    ledger.write(hold_batch, batch, "Paused by Ann.")
    assert ledger.write(resume_batch, batch)
    assert ledger.read(unmade_runs, batch) == []
    assert ledger.write(end_run, leg) is Ending.GO_ON
    assert ledger.write(end_run, leg) is Ending.ENDED


def test_approving_twice_or_too_late_changes_nothing(ledger: Ledger) -> None:
    """A cancelled plan stays cancelled."""
    batch = _unapproved(ledger)
    assert ledger.write(approve, batch)
    assert not ledger.write(approve, batch)
    other = _unapproved(ledger, "b.mov")
    ledger.write(cancel_batch, other, "No.")
    assert not ledger.write(approve, other)
    assert ledger.read(read_batch, other).state is BatchState.CANCELLED


def test_a_pause_is_no_way_around_the_approval(ledger: Ledger) -> None:
    """Resumed, it waits for what it waited for before; once approved, a pause is but a pause."""
    batch = _unapproved(ledger)
    ledger.write(hold_batch, batch, "Paused.")
    assert not ledger.write(approve, batch)
    assert ledger.write(resume_batch, batch)
    found = ledger.read(read_batch, batch)
    assert (found.state, found.reason) == (BatchState.UNAPPROVED, "Too many jobs.")
    assert ledger.write(release_chunks, batch, 4) == []
    assert ledger.write(approve, batch)
    ledger.write(hold_batch, batch, "Paused.")
    assert ledger.write(resume_batch, batch)
    assert len(ledger.write(release_chunks, batch, 4)) == 1


def test_a_plan_that_may_never_begin_keeps_nothing_from_others(ledger: Ledger) -> None:
    """Tonight's batch makes the job; the plan has one less when it begins."""
    saved = _unapproved(ledger)
    tonight = library.planned_batch(ledger, library.job("a.mov"))
    assert len(library.rows(ledger, tonight)) == 1
    [left] = library.rows(ledger, saved)
    assert left.state is JobState.CANCELLED
