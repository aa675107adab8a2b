"""Adoption, and the look for another ledger's jobs, when something fails in their middle."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from ittybatch.engine import adopting
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.errors import IttybitError
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import PARTLY, Asker, Via, recent_actions
from ittybatch.ledger.batches import finish_planning, read_batch
from ittybatch.ledger.chunks import released_chunks
from ittybatch.ledger.control import cancel_batch, resume_batch
from ittybatch.ledger.counters import recount
from ittybatch.ledger.identity import chunk_owner
from ittybatch.ledger.legs import begin_leg
from ittybatch.ledger.models import Batch, Run
from ittybatch.ledger.overdue import overdue_jobs
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.runs import unmade_runs
from ittybatch.ledger.states import BatchState, JobState
from ittybatch.ledger.submission import claim_due
from ittybatch.settings import Settings
from tests.engine.dispatching import dispatch
from tests.engine.doorway import doorway
from tests.engine.second_ledger import NAMES, adopt, all_ended, forget_keys, let_claims_be_old
from tests.ledger import library
from tests.ledger.lost_answers import one_answer_lost
from tests.sandbox.harness import KEY, Running, running, wait_for


def test_an_interrupted_adoption_leaves_the_brake_on_and_says_what_it_has_recorded(
    first: Ledger, ledger: Ledger, sandbox: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is at Ittybit too: a resume would pay for it again."""
    dispatch(first, sandbox.url, library.planned_chunk(first, *NAMES)[1])
    batch, chunk = library.planned_chunk(ledger, *NAMES)
    forget_keys(ledger)
    monkeypatch.setattr(adopting, "_GROUP", 10)
    with doorway(sandbox.url) as door:
        door.before = lambda _, path, __: (500, b"{}") if "15.mov" in path else None
        monkeypatch.setattr(
            adopting, "connect", lambda _: IttybitClient(KEY, base_url=door.url, attempts=1)
        )
        with pytest.raises(IttybitError):
            adopting.adopt(Settings(), ledger, batch, Asker("Kim", Via.CLI))
    [record] = ledger.read(recent_actions, batch=batch)
    assert "10 are there and were recorded" in record.outcome
    assert (record.refused, record.details[PARTLY]) == (False, True)

    ledger.write(resume_batch, batch)
    assert dispatch(ledger, sandbox.url, chunk).accepted == 0
    assert ledger.read(read_batch, batch).state is BatchState.HELD
    assert len(sandbox.all_jobs()) == len(NAMES)


@pytest.mark.parametrize("failing", ["14.mov", ".mov"])
def test_a_lookup_that_fails_lets_nothing_be_paid_for_again(
    first: Ledger, ledger: Ledger, sandbox: Running, failing: str
) -> None:
    """One of the five, and the others decide; or all, and the next leg looks again later."""
    dispatch(first, sandbox.url, library.planned_chunk(first, *NAMES)[1])
    batch, chunk = library.planned_chunk(ledger, *NAMES)
    forget_keys(ledger)
    with doorway(sandbox.url) as door:
        door.before = lambda how, path, _: (
            (500, b"{}") if how == "GET" and failing in path else None
        )
        done = dispatch(ledger, door.url, chunk)
        assert done.total == 0
        if done.tripped:
            assert done.pause_s > 0
            assert dispatch(ledger, door.url, chunk).total == 0, "the circuit is open"
            ledger.write(lambda tx: tx.execute(update(Batch).values(closed_until=None)))
    dispatch(ledger, sandbox.url, chunk)
    assert ledger.read(read_batch, batch).state is BatchState.HELD
    assert len(sandbox.all_jobs()) == len(NAMES)


def test_an_input_that_ittybit_refuses_to_look_for_stops_no_other(
    ledger: Ledger, sandbox: Running
) -> None:
    """Its own submission tells what is wrong with it. A refused key holds the batch at once."""
    batch, chunk = library.planned_chunk(ledger, *NAMES)
    with doorway(sandbox.url) as door:
        door.before = lambda how, *_: (401, b"{}") if how == "GET" else None
        assert dispatch(ledger, door.url, chunk).stopped
        assert ledger.read(read_batch, batch).state is BatchState.HELD
        ledger.write(resume_batch, batch)
        door.before = lambda how, path, _: (
            (400, b"{}") if how == "GET" and "/jobs?" in path else None
        )
        assert dispatch(ledger, door.url, chunk).accepted == len(NAMES)


def test_what_was_adopted_can_be_made_again_on_purpose(
    first: Ledger, ledger: Ledger, sandbox: Running
) -> None:
    """An adopted job is this ledger's own, although its mark is the other's."""
    dispatch(first, sandbox.url, library.planned_chunk(first, "a.mov")[1])
    wait_for(lambda: all_ended(sandbox))
    batch, _ = library.planned_chunk(ledger, "a.mov")
    assert dict(adopt(ledger, sandbox.url, batch).adopted) == {JobState.SUCCEEDED: 1}
    again = library.new_batch(ledger).id
    page = library.page(library.job("a.mov"), remake=True)
    ledger.write(plan_page, again, page, after=None, chunk_size=10)
    ledger.write(finish_planning, again)
    chunk = library.released_chunk(ledger, again)
    assert dispatch(ledger, sandbox.url, chunk).accepted == 1
    assert len(sandbox.all_jobs()) == 2
    assert sum(adopt(ledger, sandbox.url, again).adopted.values()) == 0


def test_what_this_ledger_is_just_sending_is_not_adopted(
    first: Ledger, ledger: Ledger, sandbox: Running
) -> None:
    """Its own job, and the bill for it, would be lost."""
    dispatch(first, sandbox.url, library.planned_chunk(first, "a.mov")[1])
    wait_for(lambda: all_ended(sandbox))
    batch, chunk = library.planned_chunk(ledger, "a.mov")
    ledger.write(claim_due, chunk, 10)
    assert adopt(ledger, sandbox.url, batch).left == 1, "a receiver may be sending it"
    let_claims_be_old(ledger)
    ledger.write(begin_leg, chunk_owner(chunk), "flow-run")
    done = adopt(ledger, sandbox.url, batch)
    assert (done.left, dict(done.adopted)) == (1, {}), "a leg may be sending it again"
    assert "1 are there and were left alone" in done.describe()
    ledger.write(
        lambda tx: tx.execute(update(Run).values(heartbeat_at=tx.now - timedelta(hours=1)))
    )
    assert dict(adopt(ledger, sandbox.url, batch).adopted) == {JobState.SUCCEEDED: 1}


def test_what_was_recorded_is_counted_though_the_database_did_not_answer(
    first: Ledger, ledger: Ledger, sandbox: Running
) -> None:
    """The COMMIT was made, and is repeated."""
    dispatch(first, sandbox.url, library.planned_chunk(first, "a.mov", "b.mov")[1])
    wait_for(lambda: all_ended(sandbox))
    batch, _ = library.planned_chunk(ledger, "a.mov", "b.mov")
    with one_answer_lost(ledger):
        done = adopt(ledger, sandbox.url, batch)
    assert dict(done.adopted) == {JobState.SUCCEEDED: 2}
    assert ledger.write(recount, batch) == []


def test_a_cancel_after_an_adoption_follows_what_runs_in_every_chunk(
    first: Ledger, ledger: Ledger
) -> None:
    """Also in chunks that were not released yet."""
    with running(instant=True, faults={"jobs": [{"action": "hang"}]}) as sandbox:
        dispatch(first, sandbox.url, library.planned_chunk(first, "a.mov", "b.mov")[1])
        jobs = (library.job("a.mov"), library.job("b.mov"))
        batch = library.planned_batch(ledger, *jobs, chunk_size=1)
        library.released_chunk(ledger, batch)
        assert dict(adopt(ledger, sandbox.url, batch).adopted) == {JobState.SUBMITTED: 2}
        assert ledger.write(cancel_batch, batch, "Enough.") == (0, 2)
        chunks = ledger.read(released_chunks, batch)
        unmade = ledger.read(unmade_runs, batch)
        assert {chunk_owner(chunk) for chunk in chunks} <= {run.owner for run in unmade}
        assert len(ledger.read(overdue_jobs, silent_s=0)) == 2
