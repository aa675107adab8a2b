"""Two processes at the same owner at once, on Postgres: one sees what the other did."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text

from ittybatch.ledger import Ledger, Transaction, runs
from ittybatch.ledger.batches import end_batch, read_batch
from ittybatch.ledger.chunks import finish_chunk, release_chunks, released_chunks
from ittybatch.ledger.control import cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.identity import batch_owner, chunk_owner, owned_chunk
from ittybatch.ledger.legs import Ending, begin_leg, begin_wait, end_run
from ittybatch.ledger.models import Job
from ittybatch.ledger.planning import NotPlanning, plan_page
from ittybatch.ledger.settlement import expire, settle
from ittybatch.ledger.states import BatchState, JobState, RunState, Verdict
from ittybatch.ledger.stopping import suspended_in_prefect
from ittybatch.ledger.submission import claim_due, return_unsent
from ittybatch.ledger.sweep import find_broken
from tests.ledger import library

TIMES = 25
LEASE_S = 60.0


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    """A ledger in which several transactions are open at once: SQLite has one writer."""
    opened = Ledger(create_ledger_engine(postgres_url), patience_s=20)
    yield opened
    opened.close()


def _at_once(ledger: Ledger, *transitions: tuple[Any, ...]) -> list[Any]:
    """Run these transitions, each with its arguments, at once; give what each came to."""
    barrier = threading.Barrier(len(transitions), timeout=20)

    def act(transition: tuple[Any, ...]) -> Any:  # noqa: ANN401
        barrier.wait()
        return ledger.write(*transition)

    with ThreadPoolExecutor(len(transitions)) as pool:
        return list(pool.map(act, transitions))


def _plan(transaction: Transaction, batch: str, number: int) -> bool:
    """Plan a page, and tell whether it was not refused."""
    page = library.page(library.job(f"{number}.mov"), cursor="1")
    try:
        plan_page(transaction, batch, page, after=None, chunk_size=1)
    except NotPlanning:
        return False
    return True


def _unmade(ledger: Ledger, batch: str) -> list[str]:
    return [run.owner for run in ledger.read(runs.unmade_runs, batch)]


def _whole(ledger: Ledger) -> None:
    assert ledger.read(find_broken, LEASE_S) == []


@pytest.mark.parametrize("kind", ["batch", "chunk"])
def test_a_leg_ends_while_its_batch_is_resumed(ledger: Ledger, kind: str) -> None:
    """Either it goes on, or a new run is made; never neither, and never both."""
    for number in range(TIMES):
        batch = library.planned_batch(ledger, library.job(f"{number}.mov"))
        chunk = library.released_chunk(ledger, batch)
        owner = batch_owner(batch) if kind == "batch" else chunk_owner(chunk)
        leg = ledger.write(begin_leg, owner, "run-1")
        assert leg is not None
        ledger.write(hold_batch, batch, "Paused.")
        ending, _ = _at_once(
            ledger,
            (end_run, leg),
            (resume_batch, batch),
        )
        assert ending in {Ending.GO_ON, Ending.ENDED}
        assert (owner in _unmade(ledger, batch)) == (ending is Ending.ENDED)
        _whole(ledger)


def test_a_leg_begins_while_its_batch_is_resumed(ledger: Ledger) -> None:
    """A run that is suspended in Prefect, resumed on its page and by a command at once."""
    for number in range(TIMES):
        batch = library.planned_batch(ledger, library.job(f"{number}.mov"))
        owner = chunk_owner(library.released_chunk(ledger, batch))
        ledger.write(begin_leg, owner, "run-1")
        seen = ledger.read(runs.read_run, owner)
        assert seen is not None
        ledger.write(suspended_in_prefect, seen)
        leg, _ = _at_once(
            ledger,
            (begin_leg, owner, "run-1"),
            (resume_batch, batch),
        )
        assert leg is not None
        assert ledger.read(read_batch, batch).state is BatchState.RUNNING
        _whole(ledger)


def test_a_leg_begins_to_wait_while_its_batch_is_held_and_resumed(ledger: Ledger) -> None:
    """Whatever it has seen of that, it is woken to look again."""
    for number in range(TIMES):
        batch = library.planned_batch(ledger, library.job(f"{number}.mov"))
        leg = ledger.write(begin_leg, batch_owner(batch), "run-1")
        assert leg is not None
        ledger.write(hold_batch, batch, "Paused.")
        _at_once(
            ledger,
            (begin_wait, leg),
            (resume_batch, batch),
        )
        assert batch_owner(batch) in [run.owner for run in ledger.read(runs.ready_runs)]
        _whole(ledger)


def test_a_page_is_planned_while_its_batch_is_cancelled(ledger: Ledger) -> None:
    """Its jobs are cancelled with the others, or it is refused; nothing is left to be sent."""
    for number in range(TIMES):
        batch = library.new_batch(ledger).id
        leg = ledger.write(begin_leg, batch_owner(batch), None)
        assert leg is not None
        planned, _ = _at_once(
            ledger,
            (_plan, batch, number),
            (cancel_batch, batch, "enough"),
        )
        states = [row.state for row in library.rows(ledger, batch)]
        assert states == ([JobState.CANCELLED] if planned else [])
        assert ledger.read(released_chunks, batch) == []
        assert ledger.write(end_run, leg) is Ending.ENDED
        _whole(ledger)


def test_two_wakers_replace_one_run(ledger: Ledger) -> None:
    """One does, whichever."""
    for number in range(TIMES):
        batch = library.planned_batch(ledger, library.job(f"{number}.mov"))
        owner = chunk_owner(library.released_chunk(ledger, batch))
        ledger.write(begin_leg, owner, "run-1")
        replaced = _at_once(ledger, *[(runs.replace_run, owner, 0)] * 2)
        assert sorted(replaced) == [False, True]
        run = ledger.read(runs.read_run, owner)
        assert run is not None
        assert (run.generation, run.state) == (1, RunState.STARTING)


def test_a_run_is_replaced_while_its_batch_is_held_and_resumed(ledger: Ledger) -> None:
    """It ends and is restarted, or it is replaced; in each order one new run is to be made."""
    for number in range(TIMES):
        batch = library.planned_batch(ledger, library.job(f"{number}.mov"))
        owner = chunk_owner(library.released_chunk(ledger, batch))
        ledger.write(begin_leg, owner, "run-1")
        ledger.write(hold_batch, batch, "Paused.")
        _at_once(
            ledger,
            (runs.replace_run, owner, 0),
            (resume_batch, batch),
        )
        run = ledger.read(runs.read_run, owner)
        assert run is not None
        assert (run.generation, run.state) == (1, RunState.STARTING)
        _whole(ledger)


def test_a_late_success_and_the_next_batch_want_the_same_key(ledger: Ledger) -> None:
    """The first job was cancelled as unsent. One of both has the claim, and neither fails."""
    for number in range(TIMES):
        _, [sent] = library.claimed(ledger, library.job(f"{number}.mov"))
        ledger.write(return_unsent, [(sent.job_id, sent.attempt)], 0)
        ledger.write(cancel_batch, sent.batch_id, "enough")
        marks = {"batch_id": sent.batch_id, "job_id": sent.job_key, "attempt": sent.attempt}
        ended = replace(library.remote(f"late-{number}"), kind="video", metadata=marks)
        [verdict], planned = _at_once(
            ledger, (settle, [ended]), (_plan, library.new_batch(ledger).id, number)
        )
        assert (verdict, planned) == (Verdict.APPLIED, True)
        assert _claims(ledger, sent.job_key) in ([True], [None, True])


def test_a_claim_that_is_being_taken_stays_with_the_new_job(ledger: Ledger) -> None:
    """The success waits for the other transaction, and finds the key claimed."""
    _, [sent] = library.claimed(ledger, library.job("a.mov"))
    ledger.write(return_unsent, [(sent.job_id, sent.attempt)], 0)
    ledger.write(cancel_batch, sent.batch_id, "enough")
    batch = library.new_batch(ledger).id
    planned = threading.Event()

    def plan_slowly(transaction: Transaction) -> None:
        page = library.page(library.job("a.mov"), cursor="1")
        plan_page(transaction, batch, page, after=None, chunk_size=1)
        planned.set()
        _wait_for_a_blocked_session(transaction)

    marks = {"batch_id": sent.batch_id, "job_id": sent.job_key, "attempt": sent.attempt}
    ended = replace(library.remote("late"), kind="video", metadata=marks)
    with ThreadPoolExecutor(1) as pool:
        planning = pool.submit(ledger.write, plan_slowly)
        assert planned.wait(20)
        settled = ledger.write(settle, [ended])
        planning.result(20)
    assert settled == [Verdict.APPLIED]
    rows = ledger.read(lambda tx: tx.rows(select(Job.state, Job.claim).order_by(Job.id)))
    assert [tuple(row) for row in rows] == [(JobState.SUCCEEDED, None), (JobState.PLANNED, True)]


def _claims(ledger: Ledger, key: str) -> list[bool | None]:
    query = select(Job.claim).where(Job.job_key == key).order_by(Job.id)
    return [row.claim for row in ledger.read(lambda tx: tx.rows(query))]


def _wait_for_a_blocked_session(transaction: Transaction) -> None:
    """Wait until another session waits for this transaction."""
    blocked = text(
        "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    )
    deadline = time.monotonic() + 15
    while not transaction.rows(blocked):
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.02)


@pytest.mark.parametrize("first", ["the success", "the end", "another success"])
def test_the_last_given_up_job_succeeds_while_its_batch_ends(ledger: Ledger, first: str) -> None:
    """Whoever commits last sees what the other did: the batch has succeeded."""
    jobs = [library.job(name, deadline_s=0.0) for name in ("a.mov", "b.mov")]
    batch = library.planned_batch(ledger, *jobs, chunk_size=1)
    owners = ledger.write(release_chunks, batch, 2)
    chunks = [chunk for owner in owners if (chunk := owned_chunk(owner)) is not None]
    sent = [each for chunk in chunks for each in ledger.write(claim_due, chunk, 1)]
    library.accept(ledger, sent)
    late: list[tuple[Any, ...]] = [
        (settle, [library.remote(f"task-{number}")]) for number in range(2)
    ]
    expired = sent if first == "another success" else sent[1:]
    if len(expired) == 1:
        ledger.write(*late[0])
    for each in expired:
        assert ledger.write(expire, each.job_id)
    assert all(ledger.write(finish_chunk, chunk) for chunk in chunks)
    end: tuple[Any, ...] = (end_batch, batch)
    if first == "another success":
        assert ledger.write(*end).state is BatchState.SOME_FAILED
    one, other = {
        "the success": (late[1], end),
        "the end": (end, late[1]),
        "another success": (late[0], late[1]),
    }[first]
    with ThreadPoolExecutor(1) as pool:
        with ledger.engine.begin() as connection:
            one[0](Transaction(connection), *one[1:])
            meanwhile = pool.submit(lambda: ledger.write(*other))
            # Long enough for whatever waits for no lock to be done.
            with contextlib.suppress(TimeoutError):
                meanwhile.result(timeout=0.3)
        meanwhile.result(timeout=10)
    assert ledger.read(read_batch, batch).state is BatchState.SUCCEEDED
