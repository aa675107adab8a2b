"""What Prefect's users expect of any flow: its alerts, its filters, its logs, its subflows."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ittybatch.ledger.queries import batch_of_run
from ittybatch.ledger.states import BatchState
from tests.docs.automations import with_example
from tests.end_to_end.prefect_api import PrefectApi
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

pytestmark = pytest.mark.timeout(900)

# The names that the run filter of Prefect's pages knows. It hides a run of any other name.
KNOWN_NAMES = {
    *("Scheduled", "Late", "Resuming", "AwaitingRetry", "AwaitingConcurrencySlot", "Pending"),
    *("Paused", "Suspended", "Running", "Retrying", "Completed", "Cached", "Cancelled"),
    *("Cancelling", "Crashed", "Failed", "TimedOut"),
}
# What Prefect's form for automations makes of "when any flow run enters Failed".
ALERT = {
    "name": "an ordinary alert",
    "enabled": True,
    "trigger": {
        "type": "event",
        "posture": "Reactive",
        "expect": ["prefect.flow-run.Failed"],
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "for_each": ["prefect.resource.id"],
        "threshold": 1,
        "within": 0,
    },
    "actions": [{"type": "do-nothing"}],
}
USERS_FLOW = """
import sys
from prefect import flow
from prefect.deployments import run_deployment

@flow
def mine():
    source = {"type": "manifest", "uri": sys.argv[1]}
    options = {"chunk_size": 4, **eval(sys.argv[2])}
    run = run_deployment(
        "run-batch/adhoc", parameters={"source": source, "options": options}, poll_interval=0.5
    )
    print(run.id, run.state.type.value, run.state.message)

mine()
"""


class Alert:
    """An automation on the ordinary Failed.

    Args:
        prefect: Where it is.
        automation: Its id.
    """

    def __init__(self, prefect: PrefectApi, automation: str) -> None:
        self._prefect = prefect
        self._automation = automation

    def fired_for(self, *runs: str) -> list[str]:
        """All flow runs that it fired for, once it has fired for these."""

        def fired() -> list[str] | None:
            found = self._runs()
            return found if set(runs) <= set(found) else None

        return until(fired, "the alert has fired", within_s=60)

    def _runs(self) -> list[str]:
        # Actions first: what triggered them is among the events by then.
        done = self._prefect.events(
            "prefect.automation.action.executed", f"prefect.automation.{self._automation}"
        )
        failed = {
            f"prefect.event.{event['id']}": event["resource"]["prefect.resource.id"]
            for event in self._prefect.events("prefect.flow-run.Failed")
        }
        triggers = (
            related["prefect.resource.id"]
            for event in done
            for related in event["related"]
            if related["prefect.resource.role"] == "triggering-event"
        )
        return [failed[each].removeprefix("prefect.flow-run.") for each in triggers]


@pytest.fixture
def alert(system: System) -> Iterator[Alert]:
    automation = system.prefect.create_automation(ALERT)
    yield Alert(system.prefect, automation)
    system.prefect.delete_automation(automation)


@pytest.fixture
def example(system: System) -> Iterator[Alert]:
    """The alert that `automations.yaml` has in comments, but for what it does."""
    [_, declared] = yaml.safe_load(with_example())["automations"]
    automation = system.prefect.create_automation({**declared, "actions": ALERT["actions"]})
    yield Alert(system.prefect, automation)
    system.prefect.delete_automation(automation)


def _of(count: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("manifest", [count], indirect=True, ids=str)


def _await_run(system: System, batch: str) -> str:
    """Wait until the batch's run has ended; gives it."""
    flow_run = str(system.status(batch).flow_run_id)
    ends = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    until(
        lambda: system.prefect.flow_run(flow_run)["state_type"] in ends,
        "the batch's run has ended",
        within_s=120,
        every_s=0.3,
    )
    return flow_run


@_of(12)
def test_an_alert_on_failed_fires_once_for_a_batch_that_needs_somebody(
    instant_system: System,
    manifest: dict[str, str],
    tmp_path: Path,
    alert: Alert,
    example: Alert,
) -> None:
    """Some failed, or held: once. Paused, cancelled, succeeded: not at all. No log is torn.

    Whatever the end, Prefect's own filter shows the runs, and no log holds a traceback.
    """
    system = instant_system
    worker_log = system.stack.home / "logs" / "worker.log"
    before = len(worker_log.read_text())
    error = {"kind": "invalid_input", "message": "the file is not media"}
    rules = [
        {"action": "fail_always", "match": {"input": f"*/{n}.png"}, "error": error}
        for n in (0, 5, 9)
    ]
    with system.wire.faults({"jobs": rules}):
        some_failed = system.begin(manifest, chunk_size=4)
        assert system.await_end(some_failed).state is BatchState.SOME_FAILED
    # The same source again finds nothing to do.
    succeeded = system.begin(manifest, chunk_size=4)
    assert system.await_end(succeeded).state is BatchState.SUCCEEDED
    held = system.begin({"type": "manifest", "uri": str(tmp_path / "gone.csv")})
    paused, cancelled = (_asleep(system, tmp_path, name) for name in ("paused", "cancelled"))
    for command, batch in (("pause", paused), ("cancel", cancelled)):
        assert system.command(command, batch).returncode == 0
    runs = {
        batch: _await_run(system, batch)
        for batch in (some_failed, succeeded, held, paused, cancelled)
    }
    assert system.status(held).state is BatchState.HELD

    states = {batch: system.prefect.flow_run(run) for batch, run in runs.items()}
    assert {batch: state["state_name"] for batch, state in states.items()} == {
        some_failed: "Failed",
        succeeded: "Completed",
        held: "Failed",
        paused: "Cancelled",
        cancelled: "Cancelled",
    }
    assert f"ittybatch failures {some_failed}" in states[some_failed]["state"]["message"]
    assert "3 failed" in states[some_failed]["state"]["message"]
    assert "gone.csv" in states[held]["state"]["message"]
    assert f"ittybatch resume {held}" in states[held]["state"]["message"]
    assert f"ittybatch resume {paused}" in states[paused]["state"]["message"]
    assert "outcome:some_failed" in states[some_failed]["tags"]
    assert "outcome:paused" in states[paused]["tags"]

    adopting = system.prefect.run("adopt-batch/adopt-batch", {"batch": paused})
    until(
        lambda: system.prefect.flow_run(adopting)["state_type"] == "COMPLETED",
        "the paused batch's jobs are looked up",
        within_s=120,
    )
    told = system.prefect.flow_run(adopting)["state"]["message"]
    assert told.startswith(f"Looked for 1 unsent job of batch {paused} at Ittybit: 0 are there")

    sentinel = system.prefect.run("steer-batch/steer-batch", {"action": "pause"})
    system.prefect.fail(sentinel)
    expected = [runs[some_failed], runs[held], sentinel]
    assert sorted(alert.fired_for(*expected)) == sorted(expected)
    assert sorted(example.fired_for(*expected[:2])) == sorted(expected[:2])

    for batch in runs:
        all_runs = system.prefect.tagged_runs(f"batch:{batch}")
        assert len(all_runs) >= 1
        for run in all_runs:
            assert run["state_name"] in KNOWN_NAMES
            lines = [line["message"] for line in system.prefect.logs(run["id"])]
            assert lines
            assert not [line for line in lines if "Traceback" in line], run["name"]
    assert "Traceback" not in worker_log.read_text()[before:]
    # The batch that could not read its source had one run, and still has.
    assert len(system.prefect.tagged_runs(f"batch:{held}")) == 1


def _asleep(system: System, folder: Path, name: str) -> str:
    """A batch that waits for an approval, suspended."""
    path = folder / f"{name}.csv"
    path.write_text(f"input\ns3://library/{name}.wav\n")
    batch = system.begin({"type": "manifest", "uri": str(path)}, approve_above_jobs=0)
    flow_run = str(system.status(batch).flow_run_id)
    until(
        lambda: system.prefect.flow_run(flow_run)["state_type"] == "PAUSED",
        "it is suspended",
        within_s=120,
    )
    return batch


def test_a_mistake_in_the_form_is_one_line(system: System, tmp_path: Path, alert: Alert) -> None:
    """A profile that does not exist, a batch that is not there: Failed, why, and no traceback."""
    source = {"type": "manifest", "uri": str(tmp_path / "any.csv")}
    runs = [
        system.prefect.run("run-batch/adhoc", {"source": source, "profile": "nobody's"}),
        system.prefect.run("steer-batch/steer-batch", {"action": "resume", "batch": "nobody's"}),
        system.prefect.run("adopt-batch/adopt-batch", {"batch": "nobody's"}),
    ]
    for run in runs:
        until(
            lambda run=run: system.prefect.flow_run(run)["state_type"] == "FAILED",  # type: ignore[misc]
            "the run has failed",
            within_s=120,
        )
        assert "nobody's" in system.prefect.flow_run(run)["state"]["message"]
        lines = [line["message"] for line in system.prefect.logs(run)]
        assert not [line for line in lines if "Traceback" in line], "\n".join(lines)
    # A run of an earlier test may fail just now.
    assert sorted(run for run in alert.fired_for(*runs) if run in runs) == sorted(runs)


@_of(12)
def test_a_users_own_flow_runs_a_batch_as_prefect_does_by_default(
    instant_system: System, manifest: dict[str, str], tmp_path: Path
) -> None:
    """As a subflow, which Prefect cannot suspend: it waits in place, also for an approval."""
    system = instant_system
    script = tmp_path / "mine.py"
    script.write_text(USERS_FLOW)
    program = (sys.executable, str(script))
    mine = system.start(manifest["uri"], '{"approve_above_jobs": 0}', program=program)

    def waiting() -> str | None:
        newest = [each for each in system.recent() if each.source.get("uri") == manifest["uri"]]
        return next((b.id for b in newest if b.state is BatchState.UNAPPROVED), None)

    batch = until(waiting, "the batch asks", within_s=120)
    assert system.command("approve", batch).returncode == 0
    try:
        out, err = mine.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        mine.kill()
        raise
    assert mine.returncode == 0, err
    flow_run, state, message = out.strip().splitlines()[-1].split(" ", 2)
    assert (state, message) == ("COMPLETED", "12 of 12 jobs succeeded."), err
    assert system.ledger.read(batch_of_run, flow_run) == batch
    assert system.status(batch).chunks == 3
    assert "Suspended" not in system.prefect.history(flow_run)
    assert any("subflow" in line["message"] for line in system.prefect.logs(flow_run))
    system.assert_both_sides_agree(batch)
