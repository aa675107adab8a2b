"""A plan above the user's ceiling waits, suspended, until somebody has looked at it."""

import pytest

from ittybatch.ledger.actions import Via, recent_actions
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.states import BatchState
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

pytestmark = [pytest.mark.timeout(600)]


def _of(count: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("manifest", [count], indirect=True, ids=str)


def _suspended(system: System, batch: str, leg: int) -> str:
    """Wait until a leg of the batch's run has asked; gives the flow run."""

    def asks() -> str | None:
        flow_run, number = system.flow_runs(batch)[batch_owner(batch)]
        waits = system.prefect.flow_run(flow_run)["state_type"] == "PAUSED"
        return flow_run if waits and number >= leg else None

    return until(asks, f"leg {leg} asks for approval", within_s=120)


@_of(12)
def test_a_large_plan_waits_until_it_is_approved(
    instant_system: System, manifest: dict[str, str]
) -> None:
    """Until then nothing is sent. Whoever resumes the run without a word approves of nothing."""
    system = instant_system
    batch = system.begin(manifest, approve_above_jobs=10)
    flow_run = _suspended(system, batch, 1)
    status = system.status(batch)
    assert status.state is BatchState.UNAPPROVED
    assert status.reason == "12 jobs are to be submitted, more than 10."

    assert system.prefect.resume(flow_run) == "ACCEPT"
    _suspended(system, batch, 2)
    assert system.status(batch).state is BatchState.UNAPPROVED
    assert system.wire.jobs(batch) == []

    # In the terminal here, and with the form in `pages`: the suspended run goes on by itself.
    assert system.command("approve", batch).returncode == 0
    assert system.await_end(batch).state is BatchState.SUCCEEDED
    system.assert_both_sides_agree(batch)


@_of(12)
def test_a_plan_is_turned_down_in_prefects_pages(
    instant_system: System, manifest: dict[str, str]
) -> None:
    """It costs nothing, and its jobs are free for another batch."""
    system = instant_system
    batch = system.begin(manifest, approve_above_jobs=0)
    flow_run = _suspended(system, batch, 1)
    system.prefect.resume(flow_run, {"decision": "cancel"})
    assert system.await_end(batch).state is BatchState.CANCELLED
    assert system.outcome(batch) == "Cancelled"
    assert system.wire.jobs(batch) == []
    [action] = system.ledger.read(recent_actions, batch=batch)
    assert (action.action, action.via, action.refused) == ("cancel", Via.PREFECT, False)


@_of(12)
def test_a_pause_is_no_way_around_the_approval(
    instant_system: System, manifest: dict[str, str]
) -> None:
    """Resumed, it goes on in another flow run, which asks again and waits."""
    system = instant_system
    batch = system.begin(manifest, approve_above_jobs=0)
    first = _suspended(system, batch, 1)
    assert system.command("pause", batch).returncode == 0
    until(lambda: system.prefect.flow_run(first)["state_name"] == "Cancelled", "it has ended")

    assert system.command("resume", batch).returncode == 0
    assert _suspended(system, batch, 2) != first
    status = system.status(batch)
    assert status.state is BatchState.UNAPPROVED
    assert status.reason == "12 jobs are planned. Nothing is sent before you approve it."
    assert system.wire.jobs(batch) == []

    assert system.command("approve", batch).returncode == 0
    assert system.await_end(batch).state is BatchState.SUCCEEDED
    assert system.counted(batch) == {"succeeded": 12}


@_of(12)
def test_a_saved_plan_submits_just_what_it_told(
    instant_system: System, manifest: dict[str, str]
) -> None:
    """Planned in the terminal today, begun when somebody says so."""
    system = instant_system
    told = system.told("plan", manifest["uri"], "--save", "--json")
    batch = told["batch"]
    assert told["counts"]["jobs"] == 12
    assert told["estimate"]["cost"] is None
    assert system.status(batch).state is BatchState.UNAPPROVED
    assert system.command("approve", batch).returncode == 0
    assert system.await_end(batch).state is BatchState.SUCCEEDED
    assert system.counted(batch) == {"succeeded": 12}
    system.assert_both_sides_agree(batch)
