"""End runs of reconcile and steer-batch that are stuck or no longer needed.

The ledger tracks the runs of batches and chunks, but not these. If its worker is killed, a run
stays Pending or Running in Prefect forever and occupies a slot of the work pool. After a night
without a worker, a hundred of them are Late, although one is enough.
"""

from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled

from ittybatch.engine.flow_runs import FlowRuns, RunStatus

RECONCILE_DEPLOYMENT = "reconcile/reconcile"
STEER_DEPLOYMENT = "steer-batch/steer-batch"
# Slow machines need a minute to start a process. A reconcile that takes longer than this still
# continues; only Prefect shows it as ended.
_LONGEST_S = {StateType.PENDING: 120.0, StateType.RUNNING: 1800.0}


def tidy(flow_runs: FlowRuns) -> list[str]:
    """End runs that are stuck, and runs whose work another run of reconcile has done.

    Returns:
        The flow runs that were ended.

    Raises:
        PrefectUnavailable: Prefect does not answer.
    """
    ended = []
    for deployment in (RECONCILE_DEPLOYMENT, STEER_DEPLOYMENT):
        for flow_run, status in flow_runs.begun(deployment, [*_LONGEST_S]).items():
            if status.age_s() >= _LONGEST_S[status.type]:
                flow_runs.give_up(flow_run, "Its process no longer responds.")
                ended.append(flow_run)
    for flow_run, status in flow_runs.begun(RECONCILE_DEPLOYMENT, [StateType.SCHEDULED]).items():
        if _is_late(status):
            flow_runs.set_state(flow_run, Cancelled(message="A later run has done its work."))
            ended.append(flow_run)
    return ended


def _is_late(status: RunStatus) -> bool:
    return status.name == "Late"
