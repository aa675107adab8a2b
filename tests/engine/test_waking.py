"""Waking against a real Prefect server: ready runs are woken, lost ones replaced."""

from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, StateType
from prefect.states import Cancelled, Failed, Pending, Suspended
from sqlalchemy import update

from ittybatch.engine.flow_runs import FlowRuns
from ittybatch.engine.orders import make_run
from ittybatch.engine.waking import Waker
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.identity import chunk_owner
from ittybatch.ledger.legs import begin_wait
from ittybatch.ledger.models import Run
from ittybatch.ledger.states import BatchState, JobState
from tests.engine.scene import LEASE_S, Scene
from tests.ledger import library


def test_a_run_is_made_once_however_often_it_is_asked_for(scene: Scene) -> None:
    """A crash between making it and noting it leads to the same run."""
    scene.ledger.write(lambda tx: tx.execute(update(Run).values(flow_run_id=None)))
    assert make_run(scene.ledger, scene.flow_runs, scene.owner) == scene.flow_run
    made = scene.client.read_flow_run(UUID(scene.flow_run))
    assert made.parameters == {"chunk_id": scene.chunk}
    assert made.name == f"{scene.batch} chunk 1 of 1"


def test_while_nothing_is_ready_prefect_is_asked_nothing(scene: Scene) -> None:
    """Fifty waiting chunks cost no request."""
    scene.begin()
    scene.send()
    scene.suspend()
    before = scene.flow_runs.questions
    for _ in range(5):
        assert not any(owners for _, owners in scene.waker.round().by_kind())
    assert scene.flow_runs.questions == before


def test_a_ready_run_is_called_and_then_resumed_if_nobody_answers(scene: Scene) -> None:
    """No automation is there to hear the event: after a few seconds the API does."""
    scene.begin()
    scene.send()
    scene.suspend()
    scene.end_all()
    assert scene.waker.round().called == [scene.owner]
    assert scene.waker.round().called == []
    assert scene.state == "Suspended"
    scene.age(5)
    assert scene.waker.round().resumed == [scene.owner]
    assert scene.state in {"Resuming", "Scheduled"}


def test_a_run_that_is_not_suspended_yet_is_not_called(scene: Scene) -> None:
    """Resuming it now would be lost: the next round tries again."""
    scene.begin()
    scene.send()
    scene.ledger.write(begin_wait, scene.leg)
    scene.end_all()
    assert scene.waker.round().called == []
    scene.put(Suspended(timeout_seconds=3600))
    assert scene.waker.round().called == [scene.owner]


def test_a_silent_leg_is_replaced_and_its_old_run_given_up(scene: Scene) -> None:
    """Its process was killed; Prefect still shows it Running and holds its slot."""
    scene.begin()
    scene.send(1)
    assert scene.waker.round().replaced == []
    scene.age(LEASE_S + 1)
    scene.waker = Waker(scene.ledger, scene.flow_runs, lease_s=LEASE_S)
    assert scene.waker.round().replaced == [scene.owner]
    assert scene.state == "Crashed"
    assert scene.run.generation == 1
    assert scene.run.flow_run_id != scene.flow_run


@pytest.mark.parametrize("end", [Failed(message="The pause timed out."), None])
def test_a_waiting_run_that_ended_unseen_is_replaced(scene: Scene, end: State | None) -> None:
    """Failed by a timeout, or deleted in the UI."""
    scene.begin()
    scene.send()
    scene.suspend()
    if end is None:
        scene.client.delete_flow_run(UUID(scene.flow_run))
    else:
        scene.put(end)
    assert scene.waker.check_waiting().replaced == [scene.owner]
    assert scene.waker.check_waiting().replaced == [], "the new run has not begun to wait"


def test_a_cancelled_run_sends_nothing_more_and_still_collects(scene: Scene) -> None:
    """Cancelled in the UI: what is at Ittybit is waited for, the rest is not sent."""
    scene.begin()
    scene.send(1)
    scene.suspend()
    scene.put(Cancelled())
    woken = scene.waker.check_waiting()
    assert (woken.cancelled, woken.replaced) == ([scene.owner], [scene.owner])
    states = [row.state for row in library.rows(scene.ledger, scene.batch)]
    assert states == [JobState.SUBMITTED, JobState.CANCELLED]


def test_a_run_stuck_in_pending_is_replaced(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker died between taking it and starting its process."""
    scene.put(Pending())
    scene.age(LEASE_S + 1)
    assert scene.waker.round().replaced == [], "a process may take a while to start"
    monkeypatch.setattr("ittybatch.engine.replacing._SLOWEST_START_S", 0)
    assert Waker(scene.ledger, scene.flow_runs, lease_s=0.01).round().replaced == [scene.owner]


def test_a_run_that_fails_again_and_again_holds_its_batch(scene: Scene) -> None:
    """Nobody is woken at night by a thousand runs of the same mistake."""
    for _ in range(6):
        scene.flow_run = (
            scene.run.flow_run_id or make_run(scene.ledger, scene.flow_runs, scene.owner) or ""
        )
        scene.begin()
        scene.put(Failed(message="ValueError: a broken deploy"))
        scene.age(LEASE_S + 1)
        Waker(scene.ledger, scene.flow_runs, lease_s=LEASE_S).round()
    held = scene.ledger.read(read_batch, scene.batch)
    assert held.state is BatchState.HELD
    assert "a broken deploy" in str(held.reason)


def test_only_runs_that_begin_batches_are_looked_at(prefect: SyncPrefectClient) -> None:
    """The page shows their messages; other runs of the same Prefect are not for its viewers."""

    def run_of(deployment: str) -> UUID:
        found = prefect.read_deployment_by_name(deployment)
        return prefect.create_flow_run_from_deployment(found.id).id

    flow_runs = FlowRuns(prefect)
    ours = flow_runs.batch_run(run_of("run-batch/adhoc"))
    assert ours is not None
    assert ours.type is StateType.SCHEDULED
    assert flow_runs.batch_run(run_of("process-chunk/process-chunk")) is None
    assert flow_runs.batch_run(uuid4()) is None


def test_an_owner_is_found_by_its_chunk() -> None:
    """Names of owners are stable: they are in the ledger."""
    assert chunk_owner(7) == "chunk:7"
