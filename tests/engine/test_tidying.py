"""Tidying against a real Prefect server: what is stuck is ended, what works is left alone."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State, StateType
from prefect.states import Cancelled, Late, Pending, Running, Scheduled
from prefect.testing.utilities import prefect_test_harness

from ittybatch.engine import tidying
from ittybatch.engine.finding import Grade
from ittybatch.engine.flow_runs import FlowRuns
from ittybatch.engine.prefect_checks import check_prefect
from ittybatch.engine.tidying import tidy


@pytest.fixture(scope="module")
def prefect() -> Iterator[SyncPrefectClient]:
    """A real server with the three deployments, and no worker."""

    @flow(name="reconcile")
    def reconcile() -> None: ...

    @flow(name="steer-batch")
    def steer_batch() -> None: ...

    @flow(name="adopt-batch")
    def adopt_batch() -> None: ...

    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="ittybatch", type="process"))
        for each in (reconcile, steer_batch, adopt_batch):
            client.create_deployment(
                flow_id=client.create_flow(each), name=each.name, work_pool_name="ittybatch"
            )
        yield client


def _run(prefect: SyncPrefectClient, deployment: str, state: State) -> UUID:
    found = prefect.read_deployment_by_name(f"{deployment}/{deployment}").id
    run = prefect.create_flow_run_from_deployment(found).id
    prefect.set_flow_run_state(run, state, force=True)
    return run


def test_runs_whose_process_is_gone_are_ended(
    prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their worker was killed: before it started them, or in their middle."""
    stuck = {
        _run(prefect, "reconcile", Pending()),
        _run(prefect, "reconcile", Running()),
        _run(prefect, "steer-batch", Running()),
        _run(prefect, "adopt-batch", Running()),
    }
    assert tidy(FlowRuns(prefect)) == [], "they may be at work"
    for longest_s in tidying._LONGEST_OF.values():
        for state in longest_s:
            monkeypatch.setitem(longest_s, state, 0.0)
    assert {UUID(each) for each in tidy(FlowRuns(prefect))} == stuck
    for run in stuck:
        assert _type(prefect, run) is StateType.CRASHED
    assert tidy(FlowRuns(prefect)) == []


def test_what_was_to_run_while_no_worker_was_there_is_not_made_up_for(
    prefect: SyncPrefectClient,
) -> None:
    """The run that tidies does the work of all of them. Those to come stay."""
    moment = datetime.now(UTC)
    late = [_run(prefect, "reconcile", Late(scheduled_time=moment)) for _ in range(3)]
    to_come = _run(prefect, "reconcile", Scheduled(scheduled_time=moment + timedelta(hours=1)))
    steering = _run(prefect, "steer-batch", Late(scheduled_time=moment))

    assert {UUID(each) for each in tidy(FlowRuns(prefect))} == {*late}

    assert {_type(prefect, run) for run in late} == {StateType.CANCELLED}
    assert _type(prefect, to_come) is StateType.SCHEDULED
    assert _type(prefect, steering) is StateType.SCHEDULED, "somebody waits for that"


def _type(prefect: SyncPrefectClient, run: UUID) -> StateType | None:
    return prefect.read_flow_run(run).state_type


def test_a_machine_whose_clock_is_wrong_ends_no_new_run_and_delays_none(
    prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States have the server's times, so they are compared with the server's clock.

    A run that this machine creates starts at once, not when the server's clock says the same.
    """
    run = _run(prefect, "reconcile", Pending())
    for minutes in (-10, 10):

        class WrongClock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return super().now(tz) + timedelta(minutes=minutes)  # noqa: B023  of this turn

        for module in ("flow_runs", "run_status"):
            monkeypatch.setattr(f"ittybatch.engine.{module}.datetime", WrongClock)
        monkeypatch.setattr("prefect.states.now", lambda: WrongClock.now(UTC))
        flow_runs = FlowRuns(prefect)
        assert tidy(flow_runs) == []
        (clock,) = [each for each in check_prefect() if each.check == "Clock"]
        assert clock.grade is Grade.WARNING
        assert re.search(r"(59|60)\d s " + ("behind" if minutes < 0 else "ahead"), clock.what)
        assert -2 < flow_runs.statuses([str(run)])[str(run)].age_s() < 60
        made = UUID(
            flow_runs.make(
                "steer-batch/steer-batch",
                parameters={},
                name=None,
                tags=(),
                idempotency_key=f"clock {minutes}",
            )
        )
        starts_at = prefect.read_flow_run(made).expected_start_time
        assert starts_at is not None
        assert abs(starts_at - datetime.now(UTC)) < timedelta(minutes=1), "the server holds it back"
        prefect.set_flow_run_state(made, Cancelled(), force=True)
    monkeypatch.undo()
    prefect.set_flow_run_state(run, Cancelled(), force=True)


def test_a_deployment_that_is_not_there_yet_stops_nothing(prefect: SyncPrefectClient) -> None:
    """`ittybatch deploy` of the version before: nothing else is left undone."""
    prefect.delete_deployment(prefect.read_deployment_by_name("adopt-batch/adopt-batch").id)
    stuck = _run(prefect, "steer-batch", Running())
    assert tidy(FlowRuns(prefect)) == []
    prefect.set_flow_run_state(stuck, Cancelled(), force=True)
