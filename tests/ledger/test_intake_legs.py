"""Requests under brakes, and those that a leg sends: nobody wakes one for nothing."""

import threading

from ittybatch.ledger import Ledger
from ittybatch.ledger.brakes import trip
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.control import cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.identity import chunk_owner
from ittybatch.ledger.legs import postpone_idle
from ittybatch.ledger.models import Attempt, Batch, Chunk, Job, Run
from ittybatch.ledger.runs import ready_runs
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState, ChunkState, RunState
from ittybatch.ledger.submission import claim_due, return_unsent
from ittybatch.ledger.sweep import find_broken
from tests.ledger import library
from tests.ledger.orders import (
    LEASE_S,
    accept,
    answer,
    later,
    order,
    rows,
    spec,
    taken,
    waiting,
    wake_at,
)


def test_a_held_batch_takes_requests_and_sends_nothing(ledger: Ledger) -> None:
    """Until it is resumed: then a leg sends them. It does not take over its own jobs."""
    batch = answer(taken(ledger, order(library.job("a.mov"))))[0].job.batch_id
    ledger.write(hold_batch, batch, "402")
    receipt = taken(ledger, order(library.job("b.mov")))
    [found] = answer(receipt)
    assert (found.job.status, found.job.batch_id, receipt.submissions) == ("held", batch, [])
    again = answer(taken(ledger, order(library.job("b.mov"))))[0]
    assert (again.job.id, again.created) == (found.job.id, False)
    ledger.write(resume_batch, batch)
    [claimed] = ledger.write(claim_due, rows(ledger, Chunk)[0].id, 10)
    assert claimed.job_id == found.job.id


def test_a_chunk_begun_in_a_held_batch_has_a_run_after_the_resume(ledger: Ledger) -> None:
    """A held batch has no runs, but every chunk needs one when it goes on."""
    small = spec(chunk_size=1)
    batch = answer(taken(ledger, order(library.job("a.mov"), spec=small)))[0].job.batch_id
    ledger.write(hold_batch, batch, "402")
    taken(ledger, order(library.job("b.mov"), spec=small))
    assert ledger.read(find_broken, 60.0) == []
    ledger.write(resume_batch, batch)
    assert ledger.read(find_broken, 60.0) == []
    starting = {run.owner for run in rows(ledger, Run) if run.state == RunState.STARTING}
    assert {chunk_owner(chunk.id) for chunk in rows(ledger, Chunk)} <= starting


def test_a_cancelled_batch_takes_nothing_more(ledger: Ledger) -> None:
    """The next request opens another; the old one collects what it sent and is done."""
    receipt = taken(ledger, order(library.job("a.mov")))
    accept(ledger, receipt)
    old = receipt.submissions[0].batch_id
    ledger.write(cancel_batch, old, "enough")
    [found] = answer(taken(ledger, order(library.job("b.mov"))))
    assert found.job.batch_id != old
    chunk = rows(ledger, Chunk)[0]
    assert (chunk.growing, chunk.state) == (False, ChunkState.RELEASED)
    ledger.write(settle, [library.remote("task-0")])
    assert ledger.write(finish_chunk, chunk.id)


def test_a_settled_batch_that_is_cancelled_is_done_at_once(ledger: Ledger) -> None:
    """Its growing chunk has nothing to wait for."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    ledger.write(settle, [library.remote("task-0")])
    ledger.write(cancel_batch, rows(ledger, Batch)[0].id, "enough")
    assert [chunk.state for chunk in rows(ledger, Chunk)] == [ChunkState.DONE]


def test_the_ceiling_holds_the_batch_with_the_first_job_above_it(ledger: Ledger) -> None:
    """What fits is sent; the rest is in the ledger, and is sent after a resume."""
    limited = spec(max_submissions=2)
    names = ["a.mov", "b.mov", "c.mov"]
    receipt = taken(ledger, *(order(library.job(name), spec=limited) for name in names))
    assert len(receipt.submissions) == 2
    [batch] = rows(ledger, Batch)
    assert batch.state == BatchState.HELD
    assert "max_submissions" in batch.reason
    assert [answer(receipt, place)[0].job.status for place in range(3)] == [
        "processing",
        "processing",
        "held",
    ]


def test_several_receivers_keep_to_one_ceiling(ledger: Ledger) -> None:
    """The last submission is used once."""
    limited = spec(max_submissions=3)
    sent: list[int] = []

    def receiver(number: int) -> None:
        receipt = taken(
            ledger, *(order(library.job(f"{number}-{n}.mov"), spec=limited) for n in range(2))
        )
        sent.append(len(receipt.submissions))

    threads = [threading.Thread(target=receiver, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent) == 3
    assert len(rows(ledger, Attempt)) == 3


def test_an_open_circuit_leaves_the_jobs_to_a_leg(ledger: Ledger) -> None:
    """It is woken when the circuit may close, and probes."""
    batch = answer(taken(ledger, order(library.job("a.mov"))))[0].job.batch_id
    pause_s = ledger.write(trip, batch)
    receipt = taken(ledger, order(library.job("b.mov")))
    assert receipt.submissions == []
    [chunk] = rows(ledger, Chunk)
    woken = wake_at(ledger, chunk.id)
    now = ledger.read(lambda tx: tx.now)
    assert woken is not None
    assert 0 < (woken - now).total_seconds() <= max(pause_s, LEASE_S)


def test_a_rate_limit_is_kept_and_the_rest_left_to_a_leg(ledger: Ledger) -> None:
    """Over all receivers: they count in the ledger."""
    slow = spec(submit_per_s=2.0)
    first = taken(ledger, *(order(library.job(f"{n}.mov"), spec=slow) for n in range(3)))
    assert len(first.submissions) == 2
    second = taken(ledger, order(library.job("d.mov"), spec=slow))
    assert second.submissions == []
    [chunk] = rows(ledger, Chunk)
    assert (chunk.planned, chunk.in_flight) == (2, 2)


def test_without_a_sender_legs_send_everything(ledger: Ledger) -> None:
    """Their chunk is woken at once."""
    receipt = taken(ledger, order(library.job("a.mov")), send=False)
    assert receipt.submissions == []
    [chunk] = rows(ledger, Chunk)
    assert wake_at(ledger, chunk.id) <= ledger.read(lambda tx: tx.now)
    [claimed] = ledger.write(claim_due, chunk.id, 10)
    assert claimed.job_id == answer(receipt)[0].job.id


def test_a_growing_chunk_with_nothing_to_do_sleeps(ledger: Ledger) -> None:
    """It is not done, nothing wakes it, and the sweep finds that right."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    ledger.write(settle, [library.remote("task-0")])
    [chunk] = rows(ledger, Chunk)
    waiting(ledger, chunk.id)
    assert wake_at(ledger, chunk.id) is None
    broken = ledger.read(find_broken, 60.0)
    assert [each.owner for each in broken if each.owner.startswith("chunk:")] == []


def test_a_request_asks_for_a_leg_at_the_end_of_its_lease(ledger: Ledger) -> None:
    """In case its sender dies."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    [chunk] = rows(ledger, Chunk)
    ledger.write(settle, [library.remote("task-0")])
    waiting(ledger, chunk.id)
    receipt = taken(ledger, order(library.job("b.mov")))
    assert wake_at(ledger, chunk.id) == receipt.lease_until


def test_a_leg_that_would_find_nothing_is_postponed(ledger: Ledger) -> None:
    """The job was accepted meanwhile: the run sleeps until the job's deadline."""
    receipt = taken(ledger, order(library.job("a.mov")))
    [chunk] = rows(ledger, Chunk)
    waiting(ledger, chunk.id)
    accept(ledger, receipt)
    later(ledger, seconds=0)
    owner = chunk_owner(chunk.id)
    assert [run.owner for run in ledger.read(ready_runs)] == [owner]
    assert ledger.write(postpone_idle, [owner]) == {owner}
    assert ledger.read(ready_runs) == []
    assert wake_at(ledger, chunk.id) == rows(ledger, Job)[0].deadline_at
    ledger.write(settle, [library.remote("task-0")])
    later(ledger, seconds=0)
    assert ledger.write(postpone_idle, [owner]) == {owner}
    assert wake_at(ledger, chunk.id) is None


def test_a_leg_with_work_is_not_postponed(ledger: Ledger) -> None:
    """Its sender died, or a retry is due."""
    taken(ledger, order(library.job("a.mov")))
    [chunk] = rows(ledger, Chunk)
    waiting(ledger, chunk.id)
    later(ledger, seconds=1)
    assert ledger.write(postpone_idle, [chunk_owner(chunk.id)]) == set()
    assert len(ledger.read(ready_runs)) == 1


def test_what_was_put_back_is_due_for_a_leg(ledger: Ledger) -> None:
    """The taker could not send it; the end of the lease wakes the run."""
    receipt = taken(ledger, order(library.job("a.mov")))
    [chunk] = rows(ledger, Chunk)
    waiting(ledger, chunk.id)
    ledger.write(return_unsent, [(each.job_id, each.attempt) for each in receipt.submissions], 0)
    later(ledger, seconds=1)
    assert ledger.write(postpone_idle, [chunk_owner(chunk.id)]) == set()
    assert len(ledger.write(claim_due, chunk.id, 10)) == 1


def test_the_run_of_a_held_batch_is_not_postponed(ledger: Ledger) -> None:
    """It has to be woken to see that it is held, and to end."""
    receipt = taken(ledger, order(library.job("a.mov")))
    [chunk] = rows(ledger, Chunk)
    accept(ledger, receipt)
    waiting(ledger, chunk.id)
    ledger.write(hold_batch, receipt.submissions[0].batch_id, "402")
    assert ledger.write(postpone_idle, [chunk_owner(chunk.id)]) == set()
