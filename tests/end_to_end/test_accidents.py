"""Accidents in the middle of a batch: every batch ends, and no job is lost or made twice.

The sandbox does no encoding here, so that what is in the way of hundreds of jobs is only
what the tests put there.
"""

import signal
from collections import Counter

import pytest

from ittybatch.ledger.states import BatchState
from tests.end_to_end import processes
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("_sleepy_chunks")]


def _slow(seconds: float) -> dict[str, object]:
    """Answers that take so long: with 64 submissions at a time, a leg sends 64 in it."""
    return {"slow": {"probability": 1, "seconds": seconds}}


@pytest.fixture
def system(instant_system: System) -> System:
    """The system with an instant sandbox."""
    return instant_system


def _of(count: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("manifest", [count], indirect=True, ids=str)


def _chunk_runs(system: System, batch: str) -> set[str]:
    runs = system.flow_runs(batch).items()
    return {flow_run for owner, (flow_run, _) in runs if owner.startswith("chunk:")}


def _sent_of_each_chunk(system: System, batch: str, chunk_size: int) -> int:
    """How many jobs of the second chunk, or of the first if that is behind, were created."""
    items = [row["metadata"]["ittybatch_item_id"] for row in system.wire.jobs(batch)]
    sent = Counter(int(item.rpartition("/")[2]) // chunk_size for item in items)
    return min(sent[0], sent[1])


def _kill_worker_and_all_that_it_started(system: System) -> list[int]:
    """SIGKILL for the worker first, so that it cannot tell Prefect of the others."""
    worker = system.stack.pid("worker")
    guard = processes.parent_of(worker)
    processes.kill([worker])
    # What has lost its parent is the guard's now.
    orphans = processes.descendants(guard)
    processes.kill(orphans)
    return [worker, *orphans]


def _assert_complete(system: System, batch: str, jobs: int) -> None:
    """Every job has succeeded, and both sides of the wire count each once."""
    assert system.status(batch).state is BatchState.SUCCEEDED
    assert system.counted(batch) == {"succeeded": jobs}
    assert system.outcome(batch) == "Completed"
    system.assert_both_sides_agree(batch)
    assert len(system.attempts(batch)) == jobs
    assert system.wire.summary()["keys"]["most_jobs_for_one_key"] == 1


@_of(1500)
def test_kill_9_of_worker_and_flow_runs_in_the_middle_of_dispatch(
    system: System, manifest: dict[str, str]
) -> None:
    """A new worker goes on: no job twice and none missing, by the sandbox's own count."""
    # Without webhooks nothing but the same key tells that an unrecorded submission was made.
    system.wire.strike({"api": _slow(1), "webhooks": {"lost": {"probability": 1}}})
    before = system.wire.summary()
    batch = system.begin(manifest, chunk_size=750)

    def created() -> int:
        return system.wire.created - int(before["jobs_known"])

    until(
        lambda: _sent_of_each_chunk(system, batch, 750) >= 150,
        "both chunks are sending",
        every_s=0.3,
    )
    chunks = _chunk_runs(system, batch)
    worker = system.stack.pid("worker")
    working = {system.prefect.flow_run(each)["infrastructure_pid"] for each in chunks}
    killed = _kill_worker_and_all_that_it_started(system)
    assert 300 <= created() <= 1200, "in the middle"
    assert len(working) == 2
    assert working <= {str(pid) for pid in killed}
    assert worker in killed

    system.wire.strike({})
    until(lambda: created() >= 1500, "other processes have sent the rest", within_s=120)
    # What was sent and never recorded was sent again, and recognised by its key.
    assert system.wire.summary()["replays"] > before["replays"]
    system.command("reconcile", ITTYBATCH_POLL_AFTER_S="0.1")
    system.await_end(batch)
    _assert_complete(system, batch, 1500)
    assert created() == 1500
    assert system.stack.pid("worker") != worker
    assert not chunks & _chunk_runs(system, batch), "the killed runs were replaced"
    assert {system.prefect.flow_run(each)["state_name"] for each in chunks} == {"Crashed"}


@_of(600)
@pytest.mark.usefixtures("without_automation")
def test_the_receiver_is_killed_while_webhooks_arrive_and_the_automation_is_gone(
    system: System, manifest: dict[str, str]
) -> None:
    """Webhooks are sent again until they are kept, and the waker resumes runs by itself."""
    known = system.wire.summary()["deliveries"]
    system.wire.strike(
        {"api": _slow(0.5), "webhooks": {"delayed": {"probability": 1, "seconds": 3}}}
    )
    batch = system.begin(manifest, chunk_size=600)

    def delivered() -> int:
        return int(system.wire.summary()["deliveries"]["acknowledged"] - known["acknowledged"])

    until(lambda: delivered() >= 50, "webhooks arrive")
    killed = system.stack.pid("receiver")
    system.stack.kill("receiver", signal.SIGKILL)
    assert delivered() < 600

    system.await_end(batch)
    assert system.stack.pid("receiver") != killed
    _assert_complete(system, batch, 600)
    assert system.wire.summary()["deliveries"]["refused"] > known["refused"]
    # Nobody but the waker, through Prefect's API, was there to resume them.
    for flow_run, _ in system.flow_runs(batch).values():
        assert "Resuming" in system.prefect.history(flow_run)


@_of(100)
def test_with_no_receiver_at_all_reconcile_ends_the_batch(
    system: System, manifest: dict[str, str]
) -> None:
    """No webhook is heard: what is silent is asked after, and what is ready is woken."""
    heard = system.wire.summary()["deliveries"]["acknowledged"]
    system.stack.stop("receiver")
    try:
        batch = system.begin(manifest)

        def reconciled() -> bool:
            system.told("reconcile", "--json", ITTYBATCH_POLL_AFTER_S="0.5")
            return system.status(batch).state.ended

        until(reconciled, "reconcile has ended the batch", within_s=90, every_s=2)
        system.await_end(batch)
        _assert_complete(system, batch, 100)
        assert system.wire.summary()["deliveries"]["acknowledged"] == heard
    finally:
        system.stack.start("receiver")


@_of(1500)
def test_a_cancelled_batch_submits_nothing_more(system: System, manifest: dict[str, str]) -> None:
    """What was sent is recorded to its end; the rest is cancelled, unsent and unpaid."""
    system.wire.strike({"api": _slow(3)})
    batch = system.begin(manifest, chunk_size=750, max_active_chunks=1)
    until(lambda: system.wire.jobs(batch), "the first jobs are at Ittybit")

    told = system.told("cancel", batch, "--json")

    system.wire.strike({})
    assert told["cancelled"] >= 750, "the whole second chunk at least"
    assert told["in_flight"] > 0
    assert told["cancelled"] + told["in_flight"] <= 1500
    status = system.await_end(batch)
    assert status.state is BatchState.CANCELLED
    assert system.outcome(batch) == "Cancelled"
    counted = system.counted(batch)
    assert counted.keys() == {"cancelled", "succeeded"}
    assert counted.total() == 1500
    assert counted["cancelled"] >= told["cancelled"], "and what was claimed, but had not left yet"
    system.assert_both_sides_agree(batch)
    assert len(system.wire.jobs(batch)) == counted["succeeded"]
