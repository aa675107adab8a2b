"""The flows as a library: called from Python, they wait in place and need no worker."""

import pytest

from tests.end_to_end.media.first_batches import FirstBatches
from tests.end_to_end.system import System

pytestmark = pytest.mark.timeout(600)


def test_a_direct_call_completes_by_waiting_in_place(
    system: System, first_batches: FirstBatches
) -> None:
    """One process from the first line to the last: nothing is suspended."""
    ours = first_batches.in_place
    assert ours.exit_status == 0, ours.said
    status = system.status(ours.batch)
    assert status.state == "succeeded"
    assert status.counts["succeeded"] == status.counts["jobs"] == 2
    system.assert_both_sides_agree(ours.batch)
    runs = system.flow_runs(ours.batch)
    assert len(runs) == 2
    for flow_run, _ in runs.values():
        assert system.prefect.flow_run(flow_run)["deployment_id"] is None
        history = system.prefect.history(flow_run)
        assert history[-1] == "Completed"
        assert "Suspended" not in history
    assert (system.stack.home / "batches" / ours.batch / "report.json").exists()
