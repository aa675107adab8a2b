"""A batch that the waker holds is shown as Failed by a real Prefect server, once."""

from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.states import Crashed, Suspended
from sqlalchemy import update

from ittybatch.engine.orders import make_run
from ittybatch.engine.waking import Waker
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.models import Run
from ittybatch.ledger.states import RunState
from tests.engine.scene import LEASE_S, Scene


@pytest.mark.parametrize(
    ("stands", "last"),
    [(RunState.WAITING, Suspended(timeout_seconds=3600)), (RunState.AWAKE, Crashed())],
)
def test_a_batch_held_by_the_waker_fails_in_prefect_once(
    scene: Scene, stands: RunState, last: State
) -> None:
    """No leg of it is left to say so: its own run is suspended, or has died. An alert hears."""
    own = scene.flow_runs.make(
        "process-chunk/process-chunk",
        parameters={"chunk_id": 0},
        name="the batch's own",
        tags=[],
        idempotency_key=str(uuid4()),
    )
    scene.ledger.write(
        lambda tx: tx.execute(
            update(Run)
            .where(Run.owner == batch_owner(scene.batch))
            .values(flow_run_id=own, state=stands.value)
        )
    )
    scene.client.set_flow_run_state(UUID(own), last, force=True)
    for _ in range(6):
        scene.flow_run = (
            scene.run.flow_run_id or make_run(scene.ledger, scene.flow_runs, scene.owner) or ""
        )
        scene.begin()
        scene.put(Crashed(message="the database was away"))
        scene.age(LEASE_S + 1)
        Waker(scene.ledger, scene.flow_runs, lease_s=LEASE_S).round()
    state = scene.client.read_flow_run(UUID(own)).state
    assert state is not None
    assert (state.name, state.type) == ("Failed", StateType.FAILED)
    assert "the database was away" in str(state.message)
    assert f"`ittybatch resume {scene.batch}`" in str(state.message)
