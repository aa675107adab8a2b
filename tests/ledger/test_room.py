"""Room at Ittybit: a limit over all batches, and the nightly run passes the backfill."""

from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.batches import change_options, finish_planning
from ittybatch.ledger.chunks import finish_chunk, release_chunks
from ittybatch.ledger.control import cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.identity import batch_owner, owned_chunk
from ittybatch.ledger.legs import begin_leg, begin_wait
from ittybatch.ledger.models import Batch, Chunk, Run
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.runs import bind_run
from ittybatch.ledger.states import ChunkState
from ittybatch.ledger.submission import claim_due
from tests.ledger import library

_CHUNK = 10


def _batch(ledger: Ledger, name: str, chunks: int, **options: object) -> str:
    """A batch of some chunks of ten jobs each, whose run waits."""
    batch = library.new_batch(ledger, name=name, options=options).id
    jobs = [library.job(f"{name}-{number}.mov") for number in range(chunks * _CHUNK)]
    ledger.write(plan_page, batch, library.page(*jobs), after=None, chunk_size=_CHUNK)
    ledger.write(finish_planning, batch)
    _wait(ledger, batch)
    return batch


def _wait(ledger: Ledger, batch: str) -> None:
    leg = ledger.write(begin_leg, batch_owner(batch), None)
    assert leg is not None
    ledger.write(begin_wait, leg)


def _release(ledger: Ledger, batch: str, max_in_flight: int = 25) -> list[int]:
    """Release for a batch; gives the chunks that were, made and bound to a run."""
    found = []
    for owner in ledger.write(release_chunks, batch, 8, max_in_flight):
        ledger.write(bind_run, owner, 0, f"run-of-{owner}")
        chunk = owned_chunk(owner)
        assert chunk is not None
        found.append(chunk)
    return found


def _end(ledger: Ledger, chunk: int) -> None:
    ledger.write(
        lambda tx: tx.execute(
            update(Chunk).where(Chunk.id == chunk).values(planned=0, succeeded=_CHUNK)
        )
    )
    assert ledger.write(finish_chunk, chunk)


def _woken(ledger: Ledger) -> set[str]:
    """Batches whose run is to go on now; each is told once."""

    def take(tx: Transaction) -> set[str]:
        due = Run.owner.startswith("batch:") & (Run.wake_at <= tx.now)
        found = {row.batch_id for row in tx.rows(select(Run.batch_id).where(due))}
        tx.execute(update(Run).where(due).values(wake_at=None))
        return found

    return ledger.write(take)


def test_the_limit_is_for_all_batches_together(ledger: Ledger) -> None:
    """The second batch takes what the first has left."""
    first, second = _batch(ledger, "first", 1), _batch(ledger, "second", 3)
    assert len(_release(ledger, first)) == 1
    assert len(_release(ledger, second)) == 1
    assert _release(ledger, second) == []


def test_room_that_is_left_wakes_who_wants_it(ledger: Ledger) -> None:
    """Not the batch whose chunk has ended: that has nothing to release."""
    first, second = _batch(ledger, "first", 2), _batch(ledger, "second", 1)
    chunk, _ = _release(ledger, first)
    assert _release(ledger, second) == []
    assert _woken(ledger) == set()
    _end(ledger, chunk)
    assert _woken(ledger) == {second}
    assert len(_release(ledger, second)) == 1


def test_a_higher_priority_goes_first(ledger: Ledger) -> None:
    """A backfill of a million leaves the next room to tonight's batch."""
    backfill = _batch(ledger, "backfill", 5, priority="low")
    chunk, other = _release(ledger, backfill)
    nightly = _batch(ledger, "nightly", 2, priority="high")
    assert _release(ledger, nightly) == []
    _end(ledger, chunk)
    assert _release(ledger, backfill) == []
    assert len(_release(ledger, nightly)) == 1
    _end(ledger, other)
    assert _release(ledger, backfill) == []
    assert len(_release(ledger, nightly)) == 1
    # Nobody above it wants room any more.
    assert nightly in _woken(ledger)


def test_who_has_all_it_wants_wakes_the_next(ledger: Ledger) -> None:
    """Or the lower batch would sleep on beside free room."""
    backfill = _batch(ledger, "backfill", 3, priority="low")
    first, second = _release(ledger, backfill)
    nightly = _batch(ledger, "nightly", 1, priority="high")
    _release(ledger, nightly)
    for chunk in (first, second):
        _end(ledger, chunk)
    assert _release(ledger, backfill) == []
    _woken(ledger)
    assert len(_release(ledger, nightly)) == 1
    assert _woken(ledger) == {backfill}
    assert len(_release(ledger, backfill)) == 1


def test_a_held_batch_is_in_nobodys_way(ledger: Ledger) -> None:
    """Its priority counts for nothing while it stands still."""
    backfill = _batch(ledger, "backfill", 3, priority="low")
    chunk, _ = _release(ledger, backfill)
    nightly = _batch(ledger, "nightly", 1, priority="high")
    _release(ledger, nightly)
    ledger.write(hold_batch, nightly, "paused")
    _end(ledger, chunk)
    assert len(_release(ledger, backfill)) == 1


def test_a_chunk_larger_than_the_limit_goes_alone(ledger: Ledger) -> None:
    """Rather than never."""
    batch = _batch(ledger, "large", 2)
    [chunk] = _release(ledger, batch, max_in_flight=5)
    assert _release(ledger, batch, max_in_flight=5) == []
    _end(ledger, chunk)
    assert len(_release(ledger, batch, max_in_flight=5)) == 1


def test_who_wants_room_looks_again_by_itself(ledger: Ledger) -> None:
    """In case the process that should have told it died."""
    first, second = _batch(ledger, "first", 2), _batch(ledger, "second", 1)
    _release(ledger, first)
    _release(ledger, second)
    for batch in (first, second):
        _wait(ledger, batch)
    times = select(Run.batch_id, Run.wake_at).where(Run.owner.startswith("batch:"))
    assert {row.batch_id for row in ledger.read(lambda tx: tx.rows(times)) if row.wake_at} == {
        second
    }


def test_options_are_changed_while_it_runs(ledger: Ledger) -> None:
    """And its run is woken to go by them."""
    batch = _batch(ledger, "first", 3, submit_per_s=5.0)
    assert ledger.write(change_options, batch, {"max_active_chunks": 2, "submit_per_s": None})
    options = ledger.read(
        lambda tx: tx.execute(select(Batch.options).where(Batch.id == batch)).scalar_one()
    )
    assert options == {"max_active_chunks": 2}
    assert _woken(ledger) == {batch}


def _room_beside(ledger: Ledger, *, backfill_state: str) -> int:
    """How many chunks a nightly batch gets beside a backfill that released all the room."""
    backfill = _batch(ledger, "backfill", 2, priority="low")
    first, _ = _release(ledger, backfill)
    sent = ledger.write(claim_due, first, 4)
    library.accept(ledger, sent)
    if backfill_state == "paused":
        ledger.write(hold_batch, backfill, "Paused by an operator.")
    elif backfill_state == "cancelled":
        ledger.write(cancel_batch, backfill, "Not wanted.")
    elif backfill_state == "resumed":
        ledger.write(hold_batch, backfill, "Paused by an operator.")
        ledger.write(resume_batch, backfill)
    nightly = _batch(ledger, "nightly", 3)
    return len(_release(ledger, nightly))


@pytest.mark.parametrize(
    ("backfill_state", "chunks"), [("running", 0), ("paused", 2), ("cancelled", 2), ("resumed", 0)]
)
def test_what_will_not_be_sent_takes_no_room(
    ledger: Ledger, backfill_state: str, chunks: int
) -> None:
    """Only the four jobs that Ittybit has. A backfill that is resumed takes its room again."""
    assert _room_beside(ledger, backfill_state=backfill_state) == chunks


@pytest.mark.parametrize("stop", [hold_batch, cancel_batch])
def test_a_batch_that_stops_wakes_who_wants_its_room(
    ledger: Ledger, stop: Callable[[Transaction, str, str], object]
) -> None:
    """At once, not when it looks again by itself."""
    backfill = _batch(ledger, "backfill", 3, priority="low")
    _release(ledger, backfill)
    nightly = _batch(ledger, "nightly", 1)
    assert _release(ledger, nightly) == []
    _woken(ledger)
    ledger.write(stop, backfill, "Not now.")
    assert nightly in _woken(ledger)
    assert len(_release(ledger, nightly)) == 1


def test_a_resumed_batch_waits_for_those_that_took_its_room(ledger: Ledger) -> None:
    """What it had released goes on; further chunks come once the jobs of all fit again."""
    backfill = _batch(ledger, "backfill", 4, priority="low")
    first, second = _release(ledger, backfill)
    ledger.write(hold_batch, backfill, "Paused by an operator.")
    nightly = _batch(ledger, "nightly", 2)
    others = _release(ledger, nightly)
    assert len(others) == 2
    ledger.write(resume_batch, backfill)
    assert _release(ledger, backfill) == []
    for chunk in (*others, first):
        assert _release(ledger, backfill) == []
        _end(ledger, chunk)
    assert len(_release(ledger, backfill)) == 1
    assert library.place(ledger, second).state is ChunkState.RELEASED
