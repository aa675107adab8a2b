"""Tidying: runs of reconcile and steer-batch that nothing will come of are ended.

The ledger looks after the runs of batches and chunks. These are nobody's: one whose worker was
killed stays Pending or Running in Prefect for ever, and keeps a slot of the work pool. After a
night without a worker there are a hundred Late ones, where one does the work of all.
"""

from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled

from ittybatch.engine.flow_runs import FlowRuns, RunStatus

RECONCILE_DEPLOYMENT = "reconcile/reconcile"
STEER_DEPLOYMENT = "steer-batch/steer-batch"
# Slow machines start a process in a minute. A reconcile that works for longer goes on in the
# ledger even so; only Prefect takes it for ended.
_LONGEST_S = {StateType.PENDING: 120.0, StateType.RUNNING: 1800.0}


def tidy(flow_runs: FlowRuns) -> list[str]:
    """End what is stuck, and what another run of reconcile has done meanwhile.

    Returns:
        The flow runs that were ended.

    Raises:
        PrefectUnavailable: when Prefect does not answer.
    """
    ended = []
    for deployment in (RECONCILE_DEPLOYMENT, STEER_DEPLOYMENT):
        for flow_run, status in flow_runs.begun(deployment, [*_LONGEST_S]).items():
            if status.age_s() >= _LONGEST_S[status.type]:
                flow_runs.give_up(flow_run, "Nothing was heard of its process any more.")
                ended.append(flow_run)
    for flow_run, status in flow_runs.begun(RECONCILE_DEPLOYMENT, [StateType.SCHEDULED]).items():
        if _is_late(status):
            flow_runs.set_state(flow_run, Cancelled(message="A later run has done its work."))
            ended.append(flow_run)
    return ended


def _is_late(status: RunStatus) -> bool:
    return status.name == "Late"
