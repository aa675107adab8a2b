"""The end of a run: on purpose, in one transaction with its reason, and never before its work."""

import pytest

from ittybatch.ledger import Ledger, runs
from ittybatch.ledger.batches import end_batch, finish_planning, read_batch
from ittybatch.ledger.chunks import finish_chunk, release_chunks, released_chunks
from ittybatch.ledger.control import approve, cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.identity import batch_owner, chunk_owner
from ittybatch.ledger.legs import Ending, Leg, beat, begin_leg, begin_wait, end_run, has_news
from ittybatch.ledger.planning import NotPlanning, plan_page
from ittybatch.ledger.runs import OwnedRun
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState, ChunkState, RunState
from ittybatch.ledger.stopping import Stopped, hold_and_end, stop_trying, suspended_in_prefect
from ittybatch.ledger.sweep import find_broken
from tests.ledger import library

LEASE_S = 60.0


def _leg(ledger: Ledger, owner: str, flow_run: str | None = "run-1") -> Leg:
    leg = ledger.write(begin_leg, owner, flow_run)
    assert leg is not None
    return leg


def _run(ledger: Ledger, owner: str) -> OwnedRun:
    found = ledger.read(runs.read_run, owner)
    assert found is not None
    return found


def _unmade(ledger: Ledger, batch: str) -> list[str]:
    return [run.owner for run in ledger.read(runs.unmade_runs, batch)]


def _whole(ledger: Ledger) -> None:
    assert ledger.read(find_broken, LEASE_S) == []


def test_a_resume_is_not_lost_on_a_leg_that_is_about_to_end(ledger: Ledger) -> None:
    """It has seen its batch held, and reports; the batch is resumed; then it would end."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    chunk = library.released_chunk(ledger, batch)
    legs = [_leg(ledger, batch_owner(batch), None), _leg(ledger, chunk_owner(chunk))]
    ledger.write(hold_batch, batch, "Paused.")
    assert ledger.write(resume_batch, batch)
    assert _unmade(ledger, batch) == [], "these legs are there, and go on"
    assert [ledger.write(end_run, leg) for leg in legs] == [Ending.GO_ON] * 2
    assert _run(ledger, chunk_owner(chunk)).state is RunState.AWAKE
    _whole(ledger)


def test_a_resume_after_the_end_makes_new_runs(ledger: Ledger) -> None:
    """The other order of the same two: then the legs have ended, and the resume sees it."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    chunk = library.released_chunk(ledger, batch)
    legs = [_leg(ledger, batch_owner(batch), None), _leg(ledger, chunk_owner(chunk))]
    ledger.write(hold_batch, batch, "Paused.")
    assert [ledger.write(end_run, leg) for leg in legs] == [Ending.ENDED] * 2
    assert ledger.write(resume_batch, batch)
    assert _unmade(ledger, batch) == [batch_owner(batch), chunk_owner(chunk)]
    assert [ledger.write(end_run, leg) for leg in legs] == [Ending.SUPERSEDED] * 2
    _whole(ledger)


def test_a_resume_while_the_batch_looks_is_not_waited_through(ledger: Ledger) -> None:
    """It found nothing to release because it was held; resumed since, it must look again."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    leg = _leg(ledger, batch_owner(batch), None)
    ledger.write(hold_batch, batch, "Paused.")
    assert ledger.write(release_chunks, batch, 8) == []
    ledger.write(resume_batch, batch)
    assert ledger.write(begin_wait, leg)
    assert [run.owner for run in ledger.read(runs.ready_runs)] == [batch_owner(batch)]


def test_a_batch_that_still_has_work_does_not_end(ledger: Ledger) -> None:
    """Whatever its leg believes; and a chunk's run ends with its chunk, not before."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    chunk = library.released_chunk(ledger, batch)
    for owner in (batch_owner(batch), chunk_owner(chunk)):
        assert ledger.write(end_run, _leg(ledger, owner, f"run-of-{owner}")) is Ending.GO_ON


def test_planning_stops_at_the_page_after_a_cancel(ledger: Ledger) -> None:
    """No chunk appears after it, and the batch's run ends."""
    batch = library.new_batch(ledger).id
    leg = _leg(ledger, batch_owner(batch), "run-1")
    first, second = (library.page(library.job(name), cursor=name) for name in ("a", "b"))
    ledger.write(plan_page, batch, first, after=None, chunk_size=1)
    ledger.write(cancel_batch, batch, "enough")
    with pytest.raises(NotPlanning, match="cancelled"):
        ledger.write(plan_page, batch, second, after="a", chunk_size=1)
    assert ledger.write(finish_planning, batch).state is BatchState.CANCELLED
    assert [row.state.value for row in library.rows(ledger, batch)] == ["cancelled"]
    assert ledger.write(end_run, leg) is Ending.ENDED
    _whole(ledger)


def test_planning_stops_at_the_page_after_a_pause_and_goes_on_from_there(ledger: Ledger) -> None:
    """What was planned stays; the cursor tells where to go on."""
    batch = library.new_batch(ledger).id
    ledger.write(
        plan_page, batch, library.page(library.job("a"), cursor="a"), after=None, chunk_size=1
    )
    ledger.write(hold_batch, batch, "Paused.")
    second = library.page(library.job("b"), cursor="b")
    with pytest.raises(NotPlanning, match=f"ittybatch resume {batch}"):
        ledger.write(plan_page, batch, second, after="a", chunk_size=1)
    ledger.write(resume_batch, batch)
    assert ledger.write(plan_page, batch, second, after="a", chunk_size=1)["jobs"] == 2


def test_a_leg_that_cannot_go_on_holds_its_batch_and_ends_at_once(ledger: Ledger) -> None:
    """Nobody replaces it; a resume makes a new run without waiting for a lease."""
    batch = library.new_batch(ledger).id
    owner = batch_owner(batch)
    leg = _leg(ledger, owner)
    assert ledger.write(hold_and_end, leg, "The manifest's server answered 500.")
    assert ledger.read(read_batch, batch).state is BatchState.HELD
    assert _run(ledger, owner).state is RunState.ENDED
    assert not ledger.write(runs.replace_run, owner, 0)
    assert ledger.write(resume_batch, batch)
    assert ledger.read(read_batch, batch).state is BatchState.PLANNING
    assert _unmade(ledger, batch) == [owner]
    assert not ledger.write(hold_and_end, leg, "too late"), "another leg's batch is not its own"
    assert ledger.read(read_batch, batch).state is BatchState.PLANNING


def test_nothing_replaces_the_run_of_a_held_batch(ledger: Ledger) -> None:
    """A process that died there has ended; the resume makes the next one."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    chunk = library.released_chunk(ledger, batch)
    _leg(ledger, chunk_owner(chunk))
    ledger.write(hold_batch, batch, "Paused.")
    for owner in (batch_owner(batch), chunk_owner(chunk)):
        assert not ledger.write(runs.replace_run, owner, 0)
        assert _run(ledger, owner).state is RunState.ENDED
    ledger.write(resume_batch, batch)
    assert _unmade(ledger, batch) == [batch_owner(batch), chunk_owner(chunk)]


def test_a_run_that_was_to_start_in_a_batch_that_is_held_by_now_is_not_made(
    ledger: Ledger,
) -> None:
    """It would start a process to say that there is nothing to do."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    owner = chunk_owner(library.released_chunk(ledger, batch))
    ledger.write(hold_batch, batch, "Paused.")
    assert ledger.write(runs.run_to_make, owner) is None
    ledger.write(resume_batch, batch)
    made = ledger.write(runs.run_to_make, owner)
    assert made is not None
    assert made.generation == 1


def test_a_leg_that_beats_while_it_is_given_up_keeps_its_place(ledger: Ledger) -> None:
    """It was found silent, and is not any more."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    owner = chunk_owner(library.released_chunk(ledger, batch))
    _leg(ledger, owner)
    seen = _run(ledger, owner)
    _leg(ledger, owner)
    assert not ledger.write(runs.replace_run, owner, 0, seen=seen)
    assert _run(ledger, owner).state is RunState.AWAKE


@pytest.mark.parametrize("what", ["beats", "begins"])
def test_a_leg_that_beats_while_its_batch_is_given_up_keeps_it_running(
    ledger: Ledger, what: str
) -> None:
    """The waker read it while the database was away for its heartbeats."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    owner = chunk_owner(library.released_chunk(ledger, batch))
    leg = _leg(ledger, owner)
    seen = _run(ledger, owner)
    if what == "beats":
        assert ledger.write(beat, leg)
    else:
        _leg(ledger, owner)
    assert ledger.write(stop_trying, seen, "no progress") is Stopped.MOVED
    assert ledger.read(read_batch, batch).state is BatchState.RUNNING
    assert ledger.write(stop_trying, _run(ledger, owner), "no progress") is Stopped.HELD


def test_what_a_held_batch_had_sent_is_collected_when_it_is_cancelled(ledger: Ledger) -> None:
    """Its runs have ended: new ones wait for what Ittybit has, and report."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    batch = library.place(ledger, chunk).batch_id
    for owner in (batch_owner(batch), chunk_owner(chunk)):
        leg = _leg(ledger, owner, f"run-of-{owner}")
        ledger.write(hold_batch, batch, "Paused.")
        assert ledger.write(end_run, leg) is Ending.ENDED
    ledger.write(cancel_batch, batch, "enough")
    assert _unmade(ledger, batch) == [batch_owner(batch), chunk_owner(chunk)]
    legs = [_leg(ledger, owner, f"again-{owner}") for owner in _unmade(ledger, batch)]
    assert [ledger.write(end_run, leg) for leg in legs] == [Ending.GO_ON] * 2
    ledger.write(settle, [library.remote("task-0")])
    assert ledger.write(finish_chunk, chunk)
    assert ledger.write(end_run, legs[0]) is Ending.ENDED
    _whole(ledger)


def test_a_held_batch_with_nothing_at_ittybit_is_over_when_it_is_cancelled(
    ledger: Ledger,
) -> None:
    """Its released chunks are done, and no process is started for that."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    chunk = library.released_chunk(ledger, batch)
    for owner in (batch_owner(batch), chunk_owner(chunk)):
        leg = _leg(ledger, owner, f"run-of-{owner}")
        ledger.write(hold_batch, batch, "Paused.")
        ledger.write(end_run, leg)
    ledger.write(cancel_batch, batch, "enough")
    assert library.place(ledger, chunk).state is ChunkState.DONE
    assert ledger.read(released_chunks, batch) == []
    assert _unmade(ledger, batch) == []


def test_an_approval_restarts_a_run_that_has_ended(ledger: Ledger) -> None:
    """As that of a saved plan: nobody waited."""
    batch = library.new_batch(ledger).id
    leg = _leg(ledger, batch_owner(batch), None)
    ledger.write(plan_page, batch, library.page(library.job("a")), after=None, chunk_size=1)
    ledger.write(finish_planning, batch, "to be looked at")
    assert ledger.write(end_run, leg) is Ending.ENDED
    assert ledger.write(approve, batch)
    assert _unmade(ledger, batch) == [batch_owner(batch)]


def test_an_approval_is_not_lost_on_a_plan_that_is_just_being_saved(ledger: Ledger) -> None:
    """The process that saves it cannot go on with it: it leaves it to a flow run."""
    batch = library.new_batch(ledger).id
    leg = _leg(ledger, batch_owner(batch), None)
    ledger.write(plan_page, batch, library.page(library.job("a")), after=None, chunk_size=1)
    ledger.write(finish_planning, batch, "to be looked at")
    assert ledger.write(approve, batch)
    assert ledger.write(end_run, leg) is Ending.GO_ON
    ledger.write(runs.hand_over, leg.owner, leg.generation)
    assert _unmade(ledger, batch) == [batch_owner(batch)]


def test_a_report_that_was_not_written_is_written_by_another_run(ledger: Ledger) -> None:
    """The batch has ended and its process died before it could tell."""
    batch = library.planned_batch(ledger)
    _leg(ledger, batch_owner(batch))
    assert ledger.write(end_batch, batch).state is BatchState.SUCCEEDED
    assert ledger.write(runs.replace_run, batch_owner(batch), 0)
    assert ledger.write(end_run, _leg(ledger, batch_owner(batch), "run-2")) is Ending.ENDED
    assert not ledger.write(runs.replace_run, batch_owner(batch), 1), "it has been told"


@pytest.mark.parametrize("by", ["resume", "page"])
def test_a_run_that_is_suspended_on_prefects_page_holds_its_batch(ledger: Ledger, by: str) -> None:
    """Either way of resuming goes on with it, and with the other chunks' runs that ended."""
    batch = library.planned_batch(ledger, library.job("a"), library.job("b"), chunk_size=1)
    ours, other = ledger.write(release_chunks, batch, 8)
    leg, others = _leg(ledger, ours, "run-1"), _leg(ledger, other, "run-2")
    assert ledger.write(suspended_in_prefect, _run(ledger, ours))
    held = ledger.read(read_batch, batch)
    assert held.state is BatchState.HELD
    assert f"suspended in Prefect; `ittybatch resume {batch}`" in str(held.reason)
    assert ledger.write(end_run, others) is Ending.ENDED
    assert not ledger.write(begin_wait, leg)
    assert ledger.write(end_run, leg) is Ending.SUSPENDED
    if by == "resume":
        assert ledger.write(resume_batch, batch)
        assert ours in [run.owner for run in ledger.read(runs.ready_runs)]
    _leg(ledger, ours, "run-1")
    assert ledger.read(read_batch, batch).state is BatchState.RUNNING
    assert _unmade(ledger, batch) == [other]
    _whole(ledger)


def test_a_run_that_waits_is_suspended_because_the_ledger_asked_for_it(ledger: Ledger) -> None:
    """Found awake, it has begun to wait before anybody could hold it for that."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    owner = chunk_owner(library.released_chunk(ledger, batch))
    leg = _leg(ledger, owner)
    seen = _run(ledger, owner)
    ledger.write(begin_wait, leg)
    assert not ledger.write(suspended_in_prefect, seen)
    assert ledger.read(read_batch, batch).state is BatchState.RUNNING


def test_a_suspended_run_of_a_cancelled_batch_is_woken(ledger: Ledger) -> None:
    """It only collects: there is nothing to pause."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    batch = library.place(ledger, chunk).batch_id
    _leg(ledger, chunk_owner(chunk))
    ledger.write(cancel_batch, batch, "enough")
    assert ledger.write(suspended_in_prefect, _run(ledger, chunk_owner(chunk)))
    assert chunk_owner(chunk) in [run.owner for run in ledger.read(runs.ready_runs)]


def test_a_run_that_gets_nowhere_holds_its_batch_or_ends_alone(ledger: Ledger) -> None:
    """A cancelled batch cannot be held; what it sent is settled by polls."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    batch = library.place(ledger, chunk).batch_id
    seen = _run(ledger, chunk_owner(chunk))
    assert ledger.write(stop_trying, seen, "a broken deploy") is Stopped.HELD
    assert _run(ledger, batch_owner(batch)).state is RunState.ENDED
    assert ledger.write(stop_trying, seen, "a broken deploy") is Stopped.MOVED
    ledger.write(cancel_batch, batch, "enough")
    again = _run(ledger, chunk_owner(chunk))
    assert ledger.write(stop_trying, again, "a broken deploy") is Stopped.ENDED
    assert _run(ledger, batch_owner(batch)).state is RunState.STARTING


def test_a_process_that_comes_back_after_its_run_has_ended_stops(ledger: Ledger) -> None:
    """It was only slow: what waits in place looks, and does not take its place back."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    owner = chunk_owner(library.released_chunk(ledger, batch))
    leg = _leg(ledger, owner)
    assert ledger.write(begin_wait, leg, in_place=True)
    assert not ledger.read(has_news, leg)
    assert ledger.write(stop_trying, _run(ledger, owner), "gone") is Stopped.HELD
    assert ledger.read(has_news, leg)
    ledger.write(resume_batch, batch)
    assert ledger.write(begin_leg, owner, "run-1", after=leg) is None
