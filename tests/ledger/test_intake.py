"""Taking requests: the batch of a day, its chunks, and its end."""

import threading
from datetime import timedelta

from sqlalchemy import func, select

from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import end_batch
from ittybatch.ledger.chunks import finish_chunk, release_chunks
from ittybatch.ledger.control import hold_batch, resume_batch
from ittybatch.ledger.counters import recount
from ittybatch.ledger.identity import batch_owner, chunk_owner
from ittybatch.ledger.legs import begin_leg, begin_wait
from ittybatch.ledger.models import Attempt, Batch, Chunk, Item, Job, Run
from ittybatch.ledger.runs import unbound_runs
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState, ChunkState, JobState, RunState
from ittybatch.ledger.submission import Refused as RefusedSubmission
from ittybatch.ledger.submission import claim_due, record_refused, unanswered
from ittybatch.ledger.sweep import find_broken
from tests.ledger import library
from tests.ledger.orders import (
    accept,
    answer,
    end_of_day,
    later,
    order,
    rows,
    spec,
    taken,
    waiting,
    wake_at,
)


def test_the_first_request_of_a_day_opens_its_batch(ledger: Ledger) -> None:
    """Running, scanned, with a growing chunk, and with runs that the waker creates."""
    receipt = taken(ledger, order(library.job("a.mov")))
    [batch] = rows(ledger, Batch)
    now = ledger.read(lambda tx: tx.now)
    assert (batch.state, batch.scan_done, batch.source["type"]) == ("running", True, "requests")
    assert batch.accepts_until > now
    assert (batch.accepts_until - timedelta(days=1)).strftime("%Y-%m-%d") == batch.source["day"]
    assert batch.accepts_until.strftime("%H:%M:%S") == "00:00:00"
    [chunk] = rows(ledger, Chunk)
    assert (chunk.state, chunk.growing, chunk.number) == (ChunkState.RELEASED, True, 1)
    owners = {run.owner: run.state for run in rows(ledger, Run)}
    assert owners == {
        batch_owner(batch.id): RunState.STARTING,
        chunk_owner(chunk.id): RunState.STARTING,
    }
    assert len(ledger.read(unbound_runs, 0)) == 2
    assert answer(receipt)[0].job.batch_id == batch.id
    assert ledger.read(find_broken, 60.0) == []


def test_a_key_is_in_the_ledger_before_it_is_sent(ledger: Ledger) -> None:
    """The job is submitting, under a lease; only then the caller learns what to send."""
    receipt = taken(ledger, order(library.job("a.mov")))
    [submission] = receipt.submissions
    [attempt] = rows(ledger, Attempt)
    [job] = rows(ledger, Job)
    assert attempt.idempotency_key == submission.idempotency_key
    assert (job.state, job.attempt, job.not_before) == (
        JobState.SUBMITTING,
        1,
        receipt.lease_until,
    )
    assert job.deadline_at > receipt.lease_until
    [chunk] = rows(ledger, Chunk)
    assert (chunk.in_flight, chunk.planned, chunk.sent, chunk.items) == (1, 0, 1, 1)
    assert ledger.write(recount, submission.batch_id) == []


def test_a_leg_sends_the_same_request_as_the_taker(ledger: Ledger) -> None:
    """Ittybit compares the bodies under a key: both have to be equal, in every field."""
    wanted = library.job("a.mov", metadata={"media_id": 7, "b": "x"}, options={"z": 1, "height": 2})
    [ours] = taken(ledger, order(wanted)).submissions
    later(ledger, seconds=1)
    [theirs] = ledger.read(unanswered, rows(ledger, Chunk)[0].id)
    assert ours == theirs
    assert list(ours.options) == list(theirs.options)


def test_during_the_lease_no_leg_sends_it(ledger: Ledger) -> None:
    """Afterwards the chunk's leg does, under the same key."""
    [submission] = taken(ledger, order(library.job("a.mov"))).submissions
    [chunk] = rows(ledger, Chunk)
    assert ledger.read(unanswered, chunk.id) == []
    assert ledger.write(claim_due, chunk.id, 10) == []
    later(ledger, seconds=1)
    [again] = ledger.read(unanswered, chunk.id)
    assert again.idempotency_key == submission.idempotency_key


def test_requests_of_a_day_share_a_batch_and_its_chunk(ledger: Ledger) -> None:
    """Whether they come together or one after the other; items are numbered through."""
    taken(ledger, order(library.job("a.mov")), order(library.job("b.mov")))
    taken(ledger, order(library.job("c.mov")))
    assert len(rows(ledger, Batch)) == len(rows(ledger, Chunk)) == 1
    assert [row.number for row in rows(ledger, Item)] == [0, 1, 2]


def test_a_full_chunk_stops_growing(ledger: Ledger) -> None:
    """Also in the middle of a group; then it is done when its jobs are."""
    small = spec(chunk_size=2)
    names = ["a.mov", "b.mov", "c.mov", "d.mov", "e.mov"]
    receipt = taken(ledger, *(order(library.job(name), spec=small) for name in names))
    chunks = rows(ledger, Chunk)
    assert [(chunk.items, chunk.growing) for chunk in chunks] == [(2, False), (2, False), (1, True)]
    accept(ledger, receipt)
    ledger.write(settle, [library.remote(f"task-{number}") for number in range(5)])
    assert [ledger.write(finish_chunk, chunk.id) for chunk in chunks] == [True, True, False]
    taken(ledger, order(library.job("f.mov"), spec=small), order(library.job("g.mov"), spec=small))
    assert [(row.items, row.growing) for row in rows(ledger, Chunk)] == [
        (2, False),
        (2, False),
        (2, False),
        (1, True),
    ]
    assert [row.number for row in rows(ledger, Item)] == list(range(7))


def test_a_settled_chunk_is_woken_when_it_stops_growing(ledger: Ledger) -> None:
    """Nothing else would let its run end."""
    small = spec(chunk_size=1)
    receipt = taken(ledger, order(library.job("a.mov"), spec=small))
    accept(ledger, receipt)
    ledger.write(settle, [library.remote("task-0")])
    [chunk] = rows(ledger, Chunk)
    waiting(ledger, chunk.id)
    assert wake_at(ledger, chunk.id) is None
    taken(ledger, order(library.job("b.mov"), spec=small))
    assert wake_at(ledger, chunk.id) is not None


def test_a_changed_profile_opens_a_batch_of_its_own(ledger: Ledger) -> None:
    """The profile of a batch is frozen; the digest says which batch a request belongs to."""
    taken(ledger, order(library.job("a.mov")), order(library.job("b.mov"), spec=spec("d2")))
    taken(ledger, order(library.job("c.mov"), spec=spec("d2")))
    assert {row.source["digest"] for row in rows(ledger, Batch)} == {"d1", "d2"}


def test_two_receivers_open_one_batch_between_them(ledger: Ledger) -> None:
    """Both take the day's first request at the same time; nothing is opened or made twice."""
    together = threading.Barrier(4)
    failures: list[BaseException] = []

    def receiver(number: int) -> None:
        try:
            together.wait()
            taken(ledger, order(library.job("a.mov")), order(library.job(f"{number}.mov")))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=receiver, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rows(ledger, Batch)) == 1
    assert len(rows(ledger, Job)) == 5
    assert ledger.write(recount, rows(ledger, Batch)[0].id) == []


def test_a_batch_does_not_end_while_it_takes_requests(ledger: Ledger) -> None:
    """Even if everything in it has ended; its run waits for the end of the day."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    ledger.write(settle, [library.remote("task-0")])
    [batch] = rows(ledger, Batch)
    assert batch_leg(ledger, batch.id, ends=False) is BatchState.RUNNING
    [run] = [run for run in rows(ledger, Run) if run.owner == batch_owner(batch.id)]
    assert (run.state, run.wake_at) == (RunState.WAITING, batch.accepts_until)


def batch_leg(ledger: Ledger, batch: str, *, ends: bool) -> BatchState:
    """What a leg of run-batch does to the ledger."""
    leg = ledger.write(begin_leg, batch_owner(batch), f"run-{batch}")
    assert leg is not None
    ledger.write(release_chunks, batch, 4)
    state = ledger.write(end_batch, batch).state
    if not ends:
        assert ledger.write(begin_wait, leg)
    return state


def test_at_the_end_of_the_day_it_ends_like_any_other(ledger: Ledger) -> None:
    """Its chunks stop growing, are woken, and are done; then it has succeeded."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    ledger.write(settle, [library.remote("task-0")])
    [batch], [chunk] = rows(ledger, Batch), rows(ledger, Chunk)
    waiting(ledger, chunk.id)
    end_of_day(ledger)
    assert batch_leg(ledger, batch.id, ends=False) is BatchState.RUNNING
    [closed], [settled] = rows(ledger, Batch), rows(ledger, Chunk)
    assert (closed.accepts_until, settled.growing) == (None, False)
    assert closed.counts == {"items": 1, "jobs": 1}
    assert wake_at(ledger, chunk.id) is not None
    assert ledger.write(finish_chunk, chunk.id)
    assert batch_leg(ledger, batch.id, ends=True) is BatchState.SUCCEEDED


def test_a_request_after_the_end_of_the_day_opens_the_next_batch(ledger: Ledger) -> None:
    """Whether the old one has been closed or not."""
    old = answer(taken(ledger, order(library.job("a.mov"))))[0].job.batch_id
    end_of_day(ledger)
    new = answer(taken(ledger, order(library.job("b.mov"))))[0].job.batch_id
    assert new != old
    ledger.write(release_chunks, old, 4)
    assert answer(taken(ledger, order(library.job("c.mov"))))[0].job.batch_id == new


def test_a_batch_held_over_the_end_of_its_day_closes_after_the_resume(ledger: Ledger) -> None:
    """Nothing of it is lost meanwhile."""
    receipt = taken(ledger, order(library.job("a.mov")), send=False)
    batch = answer(receipt)[0].job.batch_id
    ledger.write(hold_batch, batch, "402")
    end_of_day(ledger)
    assert ledger.read(find_broken, 60.0) == []
    ledger.write(resume_batch, batch)
    ledger.write(release_chunks, batch, 4)
    [chunk] = rows(ledger, Chunk)
    assert (chunk.growing, chunk.planned) == (False, 1)
    assert len(ledger.write(claim_due, chunk.id, 10)) == 1


def test_refused_and_retried_jobs_count_like_others(ledger: Ledger) -> None:
    """Their chunk's counters stay right, and a retry wakes it."""
    receipt = taken(ledger, order(library.job("a.mov")), order(library.job("b.mov")))
    first, second = receipt.submissions
    ledger.write(record_refused, [RefusedSubmission(first.job_id, 1, "invalid_input", "no")])
    library.accept(ledger, [second])
    ledger.write(settle, [library.failed("task-0")])
    [chunk] = rows(ledger, Chunk)
    assert (chunk.failed, chunk.planned, chunk.in_flight) == (1, 1, 0)
    assert ledger.write(recount, first.batch_id) == []
    assert wake_at(ledger, chunk.id) is not None


def test_the_requests_of_a_day_are_counted(ledger: Ledger) -> None:
    """Attempts by requests, as the ledger has them."""
    taken(ledger, *(order(library.job(f"{n}.mov")) for n in range(50)))
    count = select(func.count()).select_from(Attempt)
    assert ledger.read(lambda tx: tx.execute(count).scalar_one()) == 50
