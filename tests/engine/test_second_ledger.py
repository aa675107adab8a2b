"""A second ledger on one Ittybit project pays for nothing again, and can take over what is there.

A restored backup, a new laptop, a DATABASE_URL that names another database.
"""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from ittybatch.engine.polling import poll_overdue
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.control import resume_batch
from ittybatch.ledger.counters import recount
from ittybatch.ledger.models import Attempt, Batch, Job
from ittybatch.ledger.states import BatchState, JobState
from ittybatch.ledger.submission import claim_due
from tests.engine.dispatching import dispatch
from tests.engine.doorway import doorway
from tests.engine.second_ledger import NAMES, adopt, all_ended, forget_keys, let_claims_be_old
from tests.ledger import library
from tests.sandbox.harness import KEY, Running, running, wait_for


def _poll(ledger: Ledger, url: str) -> None:
    async def ask() -> None:
        async with IttybitClient(KEY, base_url=url) as client:
            await poll_overdue(ledger, client, silent_s=0)

    asyncio.run(ask())


def test_a_second_ledger_is_told_what_is_there_and_pays_for_nothing(
    first: Ledger, ledger: Ledger, sandbox: Running
) -> None:
    """Before it sends anything, so also once Ittybit has forgotten the keys."""
    dispatch(first, sandbox.url, library.planned_chunk(first, *NAMES)[1])
    batch, chunk = library.planned_chunk(ledger, *NAMES)
    done = dispatch(ledger, sandbox.url, chunk)
    assert (done.accepted, done.tripped) == (0, None)
    held = ledger.read(read_batch, batch)
    assert held.state is BatchState.HELD
    assert "Another ledger" in str(held.reason)
    assert f"`ittybatch adopt {batch}`" in str(held.reason)
    assert f"`ittybatch resume {batch}`" in str(held.reason)
    assert len(sandbox.all_jobs()) == len(NAMES)
    assert library.place(ledger, chunk).planned == len(NAMES), "nothing was even claimed"


def test_a_key_that_another_ledger_has_used_holds_the_batch_with_the_reason(
    first: Ledger, ledger: Ledger, sandbox: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a day, wherever the look before does not see it: it is a sample."""
    dispatch(first, sandbox.url, library.planned_chunk(first, "7.mov")[1])
    monkeypatch.setattr("ittybatch.engine.sending._SAMPLE", 0)
    batch, chunk = library.planned_chunk(ledger, "7.mov")
    done = dispatch(ledger, sandbox.url, chunk)
    assert (done.accepted, done.refused, done.tripped) == (0, 0, None)
    held = ledger.read(read_batch, batch)
    assert held.state is BatchState.HELD
    assert "Another ledger" in str(held.reason)
    place = library.place(ledger, chunk)
    assert (place.planned, place.in_flight) == (1, 0)
    assert len(sandbox.all_jobs()) == 1


def test_what_is_there_is_adopted_and_only_the_rest_is_sent(
    first: Ledger, ledger: Ledger, sandbox: Running
) -> None:
    """Successes with their outputs; and nothing of it is due again."""
    dispatch(first, sandbox.url, library.planned_chunk(first, "a.mov", "b.mov")[1])
    wait_for(lambda: all_ended(sandbox))
    batch, chunk = library.planned_chunk(ledger, "a.mov", "b.mov", "new.mov")
    dispatch(ledger, sandbox.url, chunk)
    done = adopt(ledger, sandbox.url, batch)
    assert (done.looked_for, dict(done.adopted)) == (3, {JobState.SUCCEEDED: 2})
    assert f"ittybatch resume {batch}" in done.describe()
    assert len(sandbox.all_jobs()) == 2, "nothing was sent"

    ledger.write(resume_batch, batch)
    assert dispatch(ledger, sandbox.url, chunk).accepted == 1
    assert len(sandbox.all_jobs()) == 3
    theirs = {job["input"]: job["id"] for job in sandbox.all_jobs()}
    for row in library.rows(ledger, batch):
        assert row.task_id == theirs[row.input]
        adopted = row.input != "s3://media/new.mov"
        assert (row.state is JobState.SUCCEEDED) == adopted
        assert (row.output_url is not None) == adopted
        assert row.attempts == 1
        if row.completed_at is not None and row.submitted_at is not None:
            assert row.completed_at >= row.submitted_at
    assert ledger.write(recount, batch) == [], "the counters are right"
    again = library.planned_batch(ledger, library.job("a.mov"))
    assert library.rows(ledger, again) == [], "it counts as done before"


def test_a_job_that_still_runs_there_is_followed_to_its_end(first: Ledger, ledger: Ledger) -> None:
    """Its webhook goes to the other ledger; this one asks."""
    with running(instant=True, faults={"jobs": [{"action": "hang"}]}) as sandbox:
        dispatch(first, sandbox.url, library.planned_chunk(first, "a.mov")[1])
        batch, chunk = library.planned_chunk(ledger, "a.mov")
        dispatch(ledger, sandbox.url, chunk)
        assert dict(adopt(ledger, sandbox.url, batch).adopted) == {JobState.SUBMITTED: 1}
        assert library.place(ledger, chunk).in_flight == 1
        _poll(ledger, sandbox.url)
        assert library.rows(ledger, batch)[0].state is JobState.SUBMITTED


def test_a_job_that_failed_there_is_judged_like_one_of_our_own(
    first: Ledger, ledger: Ledger
) -> None:
    """What may pass is sent again, under a key that nobody has used."""
    faults = {"jobs": [{"action": "fail_once"}]}
    with running(instant=True, faults=faults) as sandbox:
        dispatch(first, sandbox.url, library.planned_chunk(first, "a.mov")[1])
        wait_for(lambda: all_ended(sandbox))
        batch, chunk = library.planned_chunk(ledger, "a.mov")
        assert dict(adopt(ledger, sandbox.url, batch).adopted) == {JobState.PLANNED: 1}
        ledger.write(lambda tx: tx.execute(update(Job).values(not_before=None)))
        assert dispatch(ledger, sandbox.url, chunk).accepted == 1
        assert len({job["idempotency_key"] for job in sandbox.all_jobs()}) == 2
        numbers = ledger.read(lambda tx: tx.rows(select(Attempt.number).order_by(Attempt.number)))
        assert [row.number for row in numbers] == [1, 2]


def test_numbers_that_the_other_ledger_used_are_not_used_again(
    first: Ledger, ledger: Ledger
) -> None:
    """It needed two attempts; ours goes on from there, and has all its attempts left."""
    faults = {"jobs": [{"action": "fail_once"}]}
    with running(instant=True, faults=faults) as sandbox:
        _, chunk = library.planned_chunk(first, "a.mov")
        dispatch(first, sandbox.url, chunk)
        wait_for(lambda: all_ended(sandbox))
        _poll(first, sandbox.url)
        first.write(lambda tx: tx.execute(update(Job).values(not_before=None)))
        assert dispatch(first, sandbox.url, chunk).accepted == 1
        wait_for(lambda: all_ended(sandbox))

        batch, _ = library.planned_chunk(ledger, "a.mov")
        assert dict(adopt(ledger, sandbox.url, batch).adopted) == {JobState.SUCCEEDED: 1}
        [row] = library.rows(ledger, batch)
        assert row.attempts == 1
        numbers = ledger.read(lambda tx: tx.rows(select(Attempt.number)))
        assert [each.number for each in numbers] == [2]


def test_adopting_twice_changes_nothing(first: Ledger, ledger: Ledger, sandbox: Running) -> None:
    """Nor does adopting where there is nothing, or what this ledger has sent itself."""
    dispatch(first, sandbox.url, library.planned_chunk(first, "a.mov")[1])
    wait_for(lambda: all_ended(sandbox))
    batch, chunk = library.planned_chunk(ledger, "a.mov")
    assert sum(adopt(ledger, sandbox.url, batch).adopted.values()) == 1
    assert sum(adopt(ledger, sandbox.url, batch).adopted.values()) == 0
    assert library.place(ledger, chunk).succeeded == 1

    own, own_chunk = library.planned_chunk(ledger, "own.mov")
    dispatch(ledger, sandbox.url, own_chunk)
    ledger.write(
        lambda tx: tx.execute(
            update(Job).where(Job.chunk_id == own_chunk).values(state="submitting", task_id=None)
        )
    )
    done = adopt(ledger, sandbox.url, own)
    assert (sum(done.adopted.values()), done.own, done.left) == (0, 1, 0)
    assert "1 are there as this ledger sent them" in done.describe()
    assert "0 are not" in done.describe()


def test_what_another_ledger_failed_to_make_holds_nothing(first: Ledger, ledger: Ledger) -> None:
    """Once its keys are forgotten: there is no output that would be paid for twice."""
    with running(instant=True, faults={"jobs": [{"action": "fail_once"}]}) as sandbox:
        dispatch(first, sandbox.url, library.planned_chunk(first, "a.mov")[1])
        wait_for(lambda: all_ended(sandbox))
        batch, chunk = library.planned_chunk(ledger, "a.mov")
        forget_keys(ledger)
        assert dispatch(ledger, sandbox.url, chunk).accepted == 1
        assert ledger.read(read_batch, batch).state is BatchState.RUNNING


def test_this_ledgers_own_jobs_are_no_other_ledgers(ledger: Ledger, sandbox: Running) -> None:
    """A retry makes a job again on purpose; it finds the first one there, and is not held."""
    _, chunk = library.planned_chunk(ledger, "a.mov")
    dispatch(ledger, sandbox.url, chunk)
    ledger.write(lambda tx: tx.execute(update(Job).values(claim=None, state="failed")))
    job = library.job("a.mov")
    again = library.planned_batch(ledger, job)
    second = library.released_chunk(ledger, again)
    assert dispatch(ledger, sandbox.url, second).accepted == 1
    assert ledger.read(read_batch, again).state is BatchState.RUNNING
    assert len(sandbox.all_jobs()) == 2


def test_a_crash_right_after_the_claim_does_not_pass_by_the_look(
    first: Ledger, ledger: Ledger, sandbox: Running
) -> None:
    """A day after the first ledger, so that no key protects what was claimed and not sent."""
    dispatch(first, sandbox.url, library.planned_chunk(first, "a.mov", "b.mov")[1])
    batch, chunk = library.planned_chunk(ledger, "a.mov", "b.mov")
    ledger.write(claim_due, chunk, 10)
    let_claims_be_old(ledger)
    dispatch(ledger, sandbox.url, chunk)
    assert ledger.read(read_batch, batch).state is BatchState.HELD
    assert len(sandbox.all_jobs()) == 2
    wait_for(lambda: all_ended(sandbox))
    done = adopt(ledger, sandbox.url, batch)
    assert dict(done.adopted) == {JobState.SUCCEEDED: 2}
    assert ledger.write(recount, batch) == []


def test_keys_that_nobody_owns_are_not_taken_for_a_service_that_is_down(
    ledger: Ledger, sandbox: Running
) -> None:
    """Something else uses the project: the batch is held, and says so."""
    with doorway(sandbox.url) as door:
        door.before = lambda method, *_: (409, b"{}") if method == "POST" else None
        batch, chunk = library.planned_chunk(ledger, *NAMES)
        done = dispatch(ledger, door.url, chunk)
    assert done.tripped is None
    held = ledger.read(read_batch, batch)
    assert held.state is BatchState.HELD
    assert "Idempotency-Key" in str(held.reason)
    ledger.write(
        lambda tx: tx.execute(
            update(Attempt).values(sent_at=tx.now - timedelta(hours=1), state="sending")
        )
    )
    ledger.write(resume_batch, batch)
    ledger.write(lambda tx: tx.execute(update(Job).values(not_before=None)))
    ledger.write(lambda tx: tx.execute(update(Batch).values(trips=0, closed_until=None)))
    assert dispatch(ledger, sandbox.url, chunk).accepted == len(NAMES)
