"""What keeps a slot of the work pool though its work went on elsewhere, on a real Prefect server.

The worker's host is lost, and nobody could tell Prefect: it did not answer, or the waker died.
"""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, StateType
from prefect.states import Pending, Running
from sqlalchemy import update

from ittybatch.engine import flow_runs as reading
from ittybatch.engine.flow_runs import FlowRuns
from ittybatch.engine.orders import make_run
from ittybatch.engine.run_status import RunStatus
from ittybatch.engine.tidying import end_left_behind
from ittybatch.ledger import Ledger, Transaction, runs
from ittybatch.ledger.identity import batch_owner, chunk_owner
from ittybatch.ledger.legs import begin_leg, end_run
from ittybatch.ledger.models import Run
from tests.engine.scene import LEASE_S, Scene
from tests.ledger import library


@pytest.fixture(autouse=True)
def _prefect_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """States in Prefect are as old as a test's time for the ledger makes them."""
    monkeypatch.setattr(RunStatus, "age_s", lambda _: 3600.0)


def _made(prefect: SyncPrefectClient, flow: str, state: State, *tags: str, chunk: int = 1) -> str:
    name = {"run-batch": "adhoc"}.get(flow, flow)
    deployment = prefect.read_deployment_by_name(f"{flow}/{name}").id
    given = {"chunk_id": chunk} if flow == "process-chunk" else {}
    run = prefect.create_flow_run_from_deployment(deployment, parameters=given, tags=[*tags]).id
    prefect.set_flow_run_state(run, state, force=True)
    return str(run)


def _later(ledger: Ledger) -> None:
    def shift(tx: Transaction) -> None:
        then = tx.now - timedelta(seconds=2 * LEASE_S)
        tx.execute(update(Run).values(since=then, heartbeat_at=then))

    ledger.write(shift)


def _ended(scene: Scene) -> list[str]:
    return end_left_behind(scene.ledger, scene.flow_runs, LEASE_S)


def _type(prefect: SyncPrefectClient, run: str) -> StateType | None:
    return prefect.read_flow_run(UUID(run)).state_type


def test_a_run_that_was_replaced_frees_its_slot(scene: Scene, prefect: SyncPrefectClient) -> None:
    """After a lease: until then its process may be about to end by itself."""
    old = scene.flow_run
    scene.begin()
    assert scene.ledger.write(runs.replace_run, scene.owner, 0)
    _later(scene.ledger)
    assert _ended(scene) == [], "the run that replaces it is not bound yet: it may be this one"
    new = make_run(scene.ledger, scene.flow_runs, scene.owner)
    assert new is not None
    prefect.set_flow_run_state(UUID(new), Running(), force=True)
    assert _ended(scene) == []
    _later(scene.ledger)
    assert _ended(scene) == [old]
    assert (_type(prefect, old), _type(prefect, new)) == (StateType.CRASHED, StateType.RUNNING)
    assert _ended(scene) == []


def test_a_run_that_ended_in_the_ledger_alone_frees_its_slot(
    scene: Scene, prefect: SyncPrefectClient
) -> None:
    """Its host died between its last transaction and Prefect's final state."""
    ledger = scene.ledger
    batch = library.new_batch(ledger, flow_run_id=_made(prefect, "run-batch", Running()))
    leg = ledger.write(begin_leg, batch_owner(batch.id), batch.begun_by)
    assert leg is not None
    _later(ledger)
    assert _ended(scene) == []
    ledger.write(runs.end_runs, batch.id)
    assert _ended(scene) == [batch.begun_by], "though it could not be tagged"


def test_what_works_or_may_be_anothers_is_left_alone(
    scene: Scene, prefect: SyncPrefectClient
) -> None:
    """Awake, not begun, or of a ledger that numbers its chunks from 1 as well."""
    scene.begin()
    leg = scene.ledger.write(begin_leg, batch_owner(scene.batch), None)
    assert leg is not None
    scene.ledger.write(end_run, leg)
    _later(scene.ledger)
    left = [
        _made(prefect, "run-batch", Pending()),
        _made(prefect, "run-batch", Running(), f"batch:{uuid4()}"),
        _made(prefect, "process-chunk", Running(), f"batch:{uuid4()}", chunk=scene.chunk),
        _made(prefect, "process-chunk", Running(), chunk=scene.chunk),
    ]
    assert chunk_owner(scene.chunk) == scene.owner
    assert _ended(scene) == []
    assert StateType.CRASHED not in {_type(prefect, each) for each in [*left, scene.flow_run]}


def test_all_of_them_are_found_however_many_work(
    scene: Scene, prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect gives a page at a time; those that work come first."""
    monkeypatch.setattr(reading, "_PAGE", 2)
    mine = [
        _made(prefect, "process-chunk", Running(), f"batch:{scene.batch}", chunk=scene.chunk)
        for _ in range(5)
    ]
    _later(scene.ledger)
    assert {*mine} <= {*FlowRuns(prefect).holding_slots()}
    assert {*_ended(scene)} == {*mine}


def test_a_run_that_has_just_begun_is_left_alone(
    scene: Scene, prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody runs it once more on Prefect's page: its first transaction is to come."""
    monkeypatch.undo()
    again = _made(prefect, "process-chunk", Running(), f"batch:{scene.batch}", chunk=scene.chunk)
    _later(scene.ledger)
    assert again not in _ended(scene)
