"""Chunks that are suspended: they cost nothing, and whatever happens meanwhile, they wake."""

import signal
import time
from pathlib import Path

import pytest

from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.states import BatchState
from tests.end_to_end import processes
from tests.end_to_end.sleepers import (
    Sleeping,
    leg_processes,
    put_to_sleep,
    tell,
    write_pictures,
)
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until
from tests.soak.run import reconciling

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("_sleepy_chunks")]

MANY = 6
_LOOK_FOR_S = 8.0


@pytest.fixture
def system(instant_system: System) -> System:
    """The system with an instant sandbox."""
    return instant_system


@pytest.fixture(scope="module")
def many(running: System, _instant_sandbox: None, folder: Path) -> Sleeping:
    """A batch whose chunks are all suspended. The last test that uses it wakes it."""
    source = write_pictures(folder / "sleeping.csv", MANY, prefix="sleeping")
    return put_to_sleep(running, source, MANY)


def _assert_complete(system: System, sleeping: Sleeping) -> None:
    """Every job has succeeded, and both sides of the wire count each once."""
    status = system.await_end(sleeping.batch, within_s=300)
    assert status.state is BatchState.SUCCEEDED
    assert system.counted(sleeping.batch) == {"succeeded": len(sleeping.chunks)}
    assert system.outcome(sleeping.batch) == "Completed"
    system.assert_both_sides_agree(sleeping.batch)


def test_while_chunks_wait_no_process_works_and_ittybit_is_asked_nothing(
    system: System, many: Sleeping
) -> None:
    """The receiver alone looks at the ledger, and that costs next to nothing."""
    receiver = system.stack.pid("receiver")
    # What runs by the clock is not what we look for.
    with reconciling(system, 86_400):
        until(lambda: leg_processes(system) == [], "nothing else is under way")
        asked, spent_s = system.wire.summary()["requests"], processes.cpu_s(receiver)
        until_s = time.monotonic() + _LOOK_FOR_S
        while time.monotonic() < until_s:
            assert leg_processes(system) == []
            time.sleep(0.1)
        assert system.wire.summary()["requests"] == asked
        assert (processes.cpu_s(receiver) - spent_s) / _LOOK_FOR_S < 0.1, "of a core"
    states = {system.prefect.flow_run(each.flow_run)["state_name"] for each in many.chunks}
    assert states == {"Suspended"}


def test_prefects_server_is_killed_while_chunks_are_suspended(
    system: System, many: Sleeping
) -> None:
    """What Ittybit tells meanwhile is kept; once the server is back, each run goes on."""
    killed = system.stack.pid("prefect-server")
    system.stack.kill("prefect-server", signal.SIGKILL)
    tell(system, many.chunks)
    until(
        lambda: system.counted(many.batch) == {"succeeded": MANY},
        "the webhooks are kept without Prefect",
    )
    system.stack.await_ready("prefect-server")
    assert system.stack.pid("prefect-server") != killed
    _assert_complete(system, many)
    runs = system.flow_runs(many.batch)
    assert {each.owner: runs[each.owner][0] for each in many.chunks} == {
        each.owner: each.flow_run for each in many.chunks
    }, "the suspended runs themselves went on"


@pytest.mark.parametrize("manifest", [2], indirect=True, ids=str)
def test_a_deploy_while_chunks_are_suspended_changes_nothing(
    system: System, manifest: dict[str, str]
) -> None:
    """The next legs are of the new deployment; what they go on from is in the ledger."""
    sleeping = put_to_sleep(system, manifest, 2)
    before = system.prefect.deployments()
    done = system.command("deploy")
    assert done.returncode == 0, done.stderr
    system.stack.restart("worker")
    assert system.prefect.deployments() == before

    tell(system, sleeping.chunks)
    _assert_complete(system, sleeping)
    runs = system.flow_runs(sleeping.batch)
    assert {runs[each.owner] for each in sleeping.chunks} == {
        (each.flow_run, 2) for each in sleeping.chunks
    }


@pytest.mark.parametrize("manifest", [2], indirect=True, ids=str)
def test_suspended_runs_that_are_deleted_in_prefect_are_replaced(
    system: System, manifest: dict[str, str]
) -> None:
    """The batch's own and a chunk's: other runs take up what the ledger says is open."""
    sleeping = put_to_sleep(system, manifest, 2)
    gone, kept = sleeping.chunks
    batch = batch_owner(sleeping.batch)
    deleted = {batch: system.flow_runs(sleeping.batch)[batch][0], gone.owner: gone.flow_run}
    for flow_run in deleted.values():
        system.prefect.delete(flow_run)

    tell(system, sleeping.chunks)
    _assert_complete(system, sleeping)
    runs = system.flow_runs(sleeping.batch)
    assert runs[kept.owner][0] == kept.flow_run
    assert all(runs[owner][0] != flow_run for owner, flow_run in deleted.items())
