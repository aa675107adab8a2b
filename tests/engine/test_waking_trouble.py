"""What one owner's trouble does to the others: nothing. And what is done about it."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Cancelled, Failed, Running, Suspended
from sqlalchemy import update

from ittybatch.engine.finding import Grade
from ittybatch.engine.flow_runs import FlowRuns, PrefectUnavailable
from ittybatch.engine.prefect_checks import _check_events
from ittybatch.engine.waking import Waker
from ittybatch.ledger import Ledger, runs
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.chunks import chunk_of
from ittybatch.ledger.control import cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.legs import begin_leg, end_run
from ittybatch.ledger.models import Batch, Run
from ittybatch.ledger.states import BatchState, RunState
from ittybatch.ledger.stopping import hold_and_end
from tests.engine.refusing import refusing
from tests.engine.scene import LEASE_S, Scene
from tests.ledger import library

NOWHERE = "http://127.0.0.1:9/api"


def _unmade_batch(ledger: Ledger, **changes: object) -> str:
    """A batch that was held, whose run has ended, and that was resumed long enough ago."""
    batch = library.new_batch(ledger, flow_run_id=str(uuid4()), **changes).id
    run = ledger.read(runs.read_run, batch_owner(batch))
    assert run is not None
    leg = ledger.write(begin_leg, batch_owner(batch), run.flow_run_id)
    assert leg is not None
    ledger.write(hold_and_end, leg, "401")
    ledger.write(resume_batch, batch)
    _let_pass(ledger, 10)
    return batch


def _let_pass(ledger: Ledger, seconds: float) -> None:
    now = ledger.read(lambda tx: tx.now) - timedelta(seconds=seconds)
    ledger.write(lambda tx: tx.execute(update(Run).values(since=now)))
    due = update(Run).where(Run.retry_at.is_not(None)).values(retry_at=now)
    ledger.write(lambda tx: tx.execute(due))


def _strict(client: SyncPrefectClient) -> str:
    """A deployment of run-batch that refuses the parameters of every batch."""
    adhoc = client.read_deployment_by_name("run-batch/adhoc")
    schema = {
        "type": "object",
        "properties": {"source": {"type": "integer"}},
        "required": ["source"],
    }
    made = client.create_deployment(
        flow_id=adhoc.flow_id,
        name=f"strict-{uuid4()}",
        work_pool_name="ittybatch",
        entrypoint="ittybatch.flows.run_batch.run_batch",
        enforce_parameter_schema=True,
        parameter_openapi_schema=schema,
    )
    return str(made)


def _failures(ledger: Ledger, batch: str) -> int:
    run = ledger.read(runs.read_run, batch_owner(batch))
    assert run is not None
    return run.failures


def _ready(scene: Scene) -> None:
    scene.begin()
    scene.send()
    scene.suspend()
    scene.end_all()


def test_a_deployment_that_is_gone_is_replaced_by_the_usual_one(scene: Scene) -> None:
    """Somebody has deleted the deployment of an old batch, and resumes it."""
    batch = _unmade_batch(scene.ledger, deployment_id=str(uuid4()))
    assert batch_owner(batch) in scene.waker.round().made
    run = scene.ledger.read(runs.read_run, batch_owner(batch))
    assert run is not None
    made = scene.client.read_flow_run(UUID(run.flow_run_id))
    adhoc = scene.client.read_deployment_by_name("run-batch/adhoc")
    assert made.deployment_id == adhoc.id
    assert made.parameters["options"]["go_on_with"] == batch


@pytest.mark.parametrize("trouble", ["parameters that Prefect refuses", "a damaged row"])
def test_what_one_owner_needs_and_cannot_have_stops_no_other(scene: Scene, trouble: str) -> None:
    """The others are woken in the very same round; this one's batch is held in the end."""
    ledger = scene.ledger
    batch = _unmade_batch(ledger, deployment_id=_strict(scene.client))
    if trouble == "a damaged row":
        damaged = update(Batch).where(Batch.id == batch).values(profile={})
        ledger.write(lambda tx: tx.execute(damaged))
    _ready(scene)
    woken = scene.waker.round()
    assert woken.called == [scene.owner]
    assert [each.partition(": ")[0] for each in woken.troubled] == [batch_owner(batch)]
    assert scene.waker.round().troubled == [], "it is left alone for a while"
    for failures in range(1, runs.MOST_FAILURES):
        assert _failures(ledger, batch) == failures
        assert ledger.read(read_batch, batch).state is BatchState.PLANNING
        _let_pass(ledger, 10)
        woken = scene.waker.round()
    assert woken.held == [batch_owner(batch)]
    held = ledger.read(read_batch, batch)
    assert held.state is BatchState.HELD
    assert f"ittybatch resume {batch}" in str(held.reason)
    _let_pass(ledger, 10)
    assert scene.waker.round().troubled == []


def test_prefect_that_is_away_counts_against_nobody(scene: Scene) -> None:
    """The round ends, and the next one tries again."""
    batch = _unmade_batch(scene.ledger)
    with SyncPrefectClient(NOWHERE) as client:
        waker = Waker(scene.ledger, FlowRuns(client), lease_s=LEASE_S)
        with pytest.raises(PrefectUnavailable, match="could not be reached"):
            waker.round()
    assert _failures(scene.ledger, batch) == 0
    assert batch_owner(batch) in scene.waker.round().made


def test_prefect_that_lets_nobody_make_runs_counts_against_nobody(scene: Scene) -> None:
    """A role that was taken away: it is tried again each time, and everybody else is woken."""
    batch = _unmade_batch(scene.ledger)
    _ready(scene)
    with (
        refusing(str(scene.client.api_url), "/create_flow_run", 403) as url,
        SyncPrefectClient(url) as client,
    ):
        waker = Waker(scene.ledger, FlowRuns(client), lease_s=LEASE_S)
        for _ in range(runs.MOST_FAILURES + 1):
            _let_pass(scene.ledger, 10)
            woken = waker.round()
            assert [each for each in woken.troubled if batch in each]
    assert _failures(scene.ledger, batch) == 0
    assert scene.ledger.read(read_batch, batch).state is BatchState.PLANNING
    assert scene.run.called_at is not None


def test_where_events_are_refused_runs_are_resumed_all_the_same(scene: Scene) -> None:
    """The event is only the faster way; doctor says that it does not work."""
    _ready(scene)
    with (
        refusing(str(scene.client.api_url), "/events", 403) as url,
        SyncPrefectClient(url) as client,
    ):
        waker = Waker(scene.ledger, FlowRuns(client), lease_s=LEASE_S)
        assert waker.round().called == [scene.owner]
        scene.age(5)
        assert waker.round().resumed == [scene.owner]
        [finding] = _check_events(client)
        assert finding.grade is Grade.WARNING
        assert "403" in finding.what
    assert scene.state in {"Resuming", "Scheduled"}
    assert [each.grade for each in _check_events(scene.client)] == [Grade.OK]


def test_a_leg_that_worked_for_long_may_take_its_time_to_suspend(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect has shown it Running for an hour; it has been waiting for a second."""
    scene.begin()
    scene.send()
    monkeypatch.setattr("ittybatch.engine.flow_runs.RunStatus.age_s", lambda _: 3600.0)
    scene.end_all()
    scene.suspend()
    scene.put(Running())
    assert not any(owners for _, owners in scene.waker.round().by_kind())
    assert scene.state == "Running"
    _let_pass(scene.ledger, 120)
    assert scene.waker.round().replaced == [scene.owner], "it died before it suspended"


def test_a_run_that_somebody_suspends_while_it_works_holds_its_batch(scene: Scene) -> None:
    """Prefect tells its process nothing; whoever pressed the button wants a pause."""
    scene.begin()
    scene.put(Suspended(timeout_seconds=3600))
    assert scene.waker.round().held == [scene.owner]
    held = scene.ledger.read(read_batch, scene.batch)
    assert held.state is BatchState.HELD
    assert "suspended in Prefect" in str(held.reason)
    assert scene.run.state is RunState.SUSPENDED
    assert scene.ledger.write(resume_batch, scene.batch)
    assert scene.waker.round().called == [scene.owner]


def test_suspended_and_then_cancelled_on_prefects_page_is_cancelled(scene: Scene) -> None:
    """Two jobs that were not sent: no one resumes first."""
    scene.begin()
    scene.put(Suspended(timeout_seconds=3600))
    assert scene.waker.round().held == [scene.owner]
    scene.put(Cancelled())
    waker = Waker(scene.ledger, scene.flow_runs, lease_s=LEASE_S)
    assert waker.round().cancelled == [scene.owner]
    assert scene.ledger.read(chunk_of, scene.chunk).cancelled == 2
    assert scene.run.state is RunState.ENDED
    again = Waker(scene.ledger, scene.flow_runs, lease_s=LEASE_S)
    assert not any(owners for _, owners in again.round().by_kind())


def test_a_silent_run_that_was_suspended_holds_its_batch_too(scene: Scene) -> None:
    """Its process has ended, or never began."""
    scene.put(Running())
    scene.put(Suspended(timeout_seconds=3600))
    scene.age(LEASE_S + 1)
    assert scene.waker.round().held == [scene.owner]
    assert scene.ledger.read(read_batch, scene.batch).state is BatchState.HELD


def test_a_dead_run_of_a_held_batch_ends(scene: Scene) -> None:
    """Nothing takes its place until the batch is resumed."""
    scene.begin()
    scene.ledger.write(hold_batch, scene.batch, "Paused.")
    scene.age(LEASE_S + 1)
    woken = scene.waker.round()
    assert (woken.ended, woken.replaced) == ([scene.owner], [])
    assert scene.state == "Crashed", "it holds no slot any more"
    assert scene.run.state is RunState.ENDED


def test_a_resumed_batch_does_not_wait_for_the_lease_of_a_dead_leg(scene: Scene) -> None:
    """Prefect knows already that its process is gone."""
    scene.begin()
    scene.ledger.write(hold_batch, scene.batch, "Paused.")
    scene.put(Failed(message="killed"))
    scene.ledger.write(resume_batch, scene.batch)
    scene.waker.replace_dead(scene.batch)
    made = scene.waker.make_missing(scene.batch)
    assert scene.run.flow_run_id in made
    assert scene.run.generation == 1


def test_a_live_leg_is_left_alone_when_its_batch_is_resumed(scene: Scene) -> None:
    """It goes on by itself, however long Prefect has shown it Running."""
    scene.begin()
    scene.ledger.write(hold_batch, scene.batch, "Paused.")
    scene.ledger.write(resume_batch, scene.batch)
    _let_pass(scene.ledger, 3600)
    scene.waker.replace_dead(scene.batch)
    assert scene.run.generation == 0
    assert scene.run.state is RunState.AWAKE


def test_a_run_that_prefect_will_not_resume_is_replaced(scene: Scene) -> None:
    """It was called for minutes, and Prefect still shows it suspended."""
    _ready(scene)
    assert scene.waker.round().called == [scene.owner]
    often = update(Run).where(Run.owner == scene.owner).values(calls=1000)
    scene.ledger.write(lambda tx: tx.execute(often))
    scene.age(5)
    assert scene.waker.round().replaced == [scene.owner]
    assert scene.state == "Crashed"


def test_what_a_cancelled_batch_lacks_is_mended_by_the_waker(scene: Scene) -> None:
    """An owner without a run is told of, and gets one."""
    scene.begin()
    scene.send()
    scene.ledger.write(cancel_batch, scene.batch, "enough")
    scene.ledger.write(runs.end_runs, scene.batch)
    mended = scene.waker.round().mended
    assert [each.partition(" ")[0] for each in mended] == [
        batch_owner(scene.batch),
        scene.owner,
    ]
    assert scene.run.state is RunState.STARTING


def test_a_leg_ends_only_once(scene: Scene) -> None:
    """After another has taken its place it changes nothing."""
    scene.begin()
    scene.age(LEASE_S + 1)
    assert scene.waker.round().replaced == [scene.owner]
    scene.ledger.write(end_run, scene.leg)
    assert scene.run.state is RunState.STARTING
