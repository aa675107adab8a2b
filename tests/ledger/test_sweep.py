"""The sweep: an owner that nobody works for is found, mended, and told of."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete, event, update

from ittybatch.ledger import Ledger, Transaction, runs
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.chunks import release_chunks
from ittybatch.ledger.control import cancel_batch, hold_batch
from ittybatch.ledger.identity import batch_owner, chunk_owner
from ittybatch.ledger.legs import begin_leg, begin_wait
from ittybatch.ledger.models import Run
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState, ChunkState, RunState
from ittybatch.ledger.sweep import Fault, find_broken, sweep
from tests.ledger import library

LEASE_S = 60.0


def _set(ledger: Ledger, owner: str, **values: object) -> None:
    ledger.write(lambda tx: tx.execute(update(Run).where(Run.owner == owner).values(values)))


def _state(ledger: Ledger, owner: str) -> RunState | None:
    run = ledger.read(runs.read_run, owner)
    return run.state if run else None


def _deleted(ledger: Ledger, owner: str) -> None:
    ledger.write(lambda tx: tx.execute(delete(Run).where(Run.owner == owner)))


def _ended(ledger: Ledger, owner: str) -> None:
    _set(ledger, owner, state="ended", wake_at=None)


def _waits_for_nothing(ledger: Ledger, owner: str) -> None:
    _set(ledger, owner, state="waiting", wake_at=None)


def _suspended(ledger: Ledger, owner: str) -> None:
    _set(ledger, owner, state="suspended")


BREAKS = [
    (_deleted, Fault.NO_RUN, RunState.STARTING),
    (_ended, Fault.RUN_ENDED, RunState.STARTING),
    (_waits_for_nothing, Fault.NOTHING_WAKES_IT, RunState.WAITING),
    (_suspended, Fault.SUSPENDED, RunState.WAITING),
]


@pytest.mark.parametrize(("breaks", "fault", "after"), BREAKS)
@pytest.mark.parametrize("kind", ["batch", "chunk"])
def test_what_nobody_works_for_is_found_and_mended(
    ledger: Ledger,
    breaks: Callable[[Ledger, str], None],
    fault: Fault,
    after: RunState,
    kind: str,
) -> None:
    """However it came to that; and it is said what was found."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    owner = batch_owner(batch)
    if kind == "chunk":
        owner = chunk_owner(library.released_chunk(ledger, batch))
    assert ledger.read(find_broken, LEASE_S) == []
    breaks(ledger, owner)
    [mended] = sweep(ledger, LEASE_S)
    assert (mended.owner, mended.batch_id, mended.fault) == (owner, batch, fault)
    assert batch in mended.describe()
    assert _state(ledger, owner) is after
    if after is RunState.WAITING:
        assert owner in [run.owner for run in ledger.read(runs.ready_runs)]
    assert sweep(ledger, LEASE_S) == []


def test_a_process_that_was_killed_while_it_saved_a_plan_is_found(ledger: Ledger) -> None:
    """Prefect knows nothing of it: after a lease its batch is held, and its jobs are free."""
    batch = library.new_batch(ledger, deployment_id=None).id
    owner = batch_owner(batch)
    ledger.write(begin_leg, owner, None)
    assert sweep(ledger, LEASE_S) == []
    now = ledger.read(lambda tx: tx.now)
    _set(ledger, owner, heartbeat_at=now - timedelta(seconds=LEASE_S + 1))
    [mended] = sweep(ledger, LEASE_S)
    assert mended.fault is Fault.PROCESS_GONE
    held = ledger.read(read_batch, batch)
    assert held.state is BatchState.HELD
    assert f"ittybatch resume {batch}" in str(held.reason)
    assert _state(ledger, owner) is RunState.ENDED


def test_a_batch_that_is_run_in_place_is_found_too(ledger: Ledger) -> None:
    """Its flow run may be on a server that ended with its process."""
    batch = library.new_batch(ledger, flow_run_id="run-1", deployment_id=None).id
    now = ledger.read(lambda tx: tx.now)
    _set(ledger, batch_owner(batch), heartbeat_at=now - timedelta(seconds=LEASE_S + 1))
    assert [each.fault for each in sweep(ledger, LEASE_S)] == [Fault.PROCESS_GONE]


def test_a_held_batch_needs_no_run_and_neither_do_its_chunks(ledger: Ledger) -> None:
    """It says why it is held; somebody resumes it."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    chunk = library.released_chunk(ledger, batch)
    ledger.write(hold_batch, batch, "401")
    for owner in (batch_owner(batch), chunk_owner(chunk)):
        _ended(ledger, owner)
    assert sweep(ledger, LEASE_S) == []


def test_a_cancelled_batch_is_collected_to_its_end_without_a_process(ledger: Ledger) -> None:
    """Its chunk's runs got nowhere and were given up; a poll settles what was sent."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    batch = library.place(ledger, chunk).batch_id
    ledger.write(cancel_batch, batch, "enough")
    _set(ledger, chunk_owner(chunk), state="ended", stumbles=runs.MAX_FAILED_STARTS)
    assert sweep(ledger, LEASE_S) == [], "it has been tried often enough"
    ledger.write(settle, [library.failed("task-0")])
    assert [each.fault for each in sweep(ledger, LEASE_S)] == [Fault.ALL_ENDED]
    place = library.place(ledger, chunk)
    assert (place.state, place.cancelled) == (ChunkState.DONE, 1)


def test_what_waits_for_jobs_or_chunks_under_way_is_left_alone(ledger: Ledger) -> None:
    """A batch is woken by its chunks, a chunk by its jobs."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    batch = library.place(ledger, chunk).batch_id
    for owner in (batch_owner(batch), chunk_owner(chunk)):
        leg = ledger.write(begin_leg, owner, f"run-of-{owner}")
        assert leg is not None
        ledger.write(begin_wait, leg)
    assert sweep(ledger, LEASE_S) == []


def test_a_sweep_reads_no_table_of_jobs(ledger: Ledger) -> None:
    """A ledger of millions of jobs is swept as fast as one of ten."""
    batch = library.planned_batch(ledger, *(library.job(f"{n}") for n in range(3)), chunk_size=1)
    ledger.write(release_chunks, batch, 8)
    asked: list[str] = []

    def note(_c: object, _k: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(ledger.engine, "before_cursor_execute", note)

    def look(tx: Transaction) -> None:
        find_broken(tx, LEASE_S)

    ledger.read(look)
    assert asked
    assert not [sql for sql in asked if any(name in sql for name in ("jobs", "items", "attempts"))]
