"""End flow runs that are stuck or no longer needed.

If its worker is killed, a run stays Pending or Running in Prefect forever and occupies a slot of
the work pool. The ledger tracks the runs of batches and chunks, but not those of reconcile,
steer-batch and adopt-batch, and not those that it has replaced or ended: Prefect may not have
answered when it was to be told, or the host may have died before its run could tell its end. After
a night without a worker, a hundred runs of reconcile are Late, although one is enough.
"""

import logging
from collections.abc import Sequence

from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled

from ittybatch.engine.flow_runs import FlowRuns, NoDeployment, PrefectUnavailable
from ittybatch.engine.run_status import RunStatus
from ittybatch.engine.starting import ADOPT_DEPLOYMENT, RECONCILE_DEPLOYMENT
from ittybatch.ledger import Ledger
from ittybatch.ledger.left_behind import Candidate, left_behind

logger = logging.getLogger(__name__)

STEER_DEPLOYMENT = "steer-batch/steer-batch"
# Slow machines need a minute to start a process. A reconcile that takes longer than this still
# continues; only Prefect shows it as ended.
_LONGEST_S = {StateType.PENDING: 120.0, StateType.RUNNING: 1800.0}
# Looks up a hundred jobs a second or more: one that works longer has millions.
_LONGEST_ADOPTION_S = {StateType.PENDING: 900.0, StateType.RUNNING: 6 * 3600.0}
_LONGEST_OF = {
    RECONCILE_DEPLOYMENT: _LONGEST_S,
    STEER_DEPLOYMENT: _LONGEST_S,
    ADOPT_DEPLOYMENT: _LONGEST_ADOPTION_S,
}
_SHORTEST_LEASE_S = 60.0
_BATCH_TAG = "batch:"
# A run that somebody retries in the Prefect UI may wait this long for its container.
_SLOWEST_START_S = {StateType.PENDING: 900.0, StateType.RUNNING: _SHORTEST_LEASE_S}


def tidy(flow_runs: FlowRuns) -> list[str]:
    """End runs that are stuck, and runs whose work another run of reconcile has done.

    Returns:
        The flow runs that were ended.

    Raises:
        PrefectUnavailable: Prefect does not answer.
    """
    ended = []
    for deployment, longest_s in _LONGEST_OF.items():
        for flow_run, status in _begun(flow_runs, deployment, [*longest_s]).items():
            if status.age_s() >= longest_s[status.type]:
                flow_runs.mark_crashed(flow_run, "Its process no longer responds.")
                ended.append(flow_run)
    for flow_run, status in flow_runs.begun(RECONCILE_DEPLOYMENT, [StateType.SCHEDULED]).items():
        if _is_late(status):
            flow_runs.set_state(flow_run, Cancelled(message="A later run has done its work."))
            ended.append(flow_run)
    return ended


def _begun(
    flow_runs: FlowRuns, deployment: str, types: Sequence[StateType]
) -> dict[str, RunStatus]:
    """The begun runs of a deployment; none before a newer version's `deploy` has created it."""
    try:
        return flow_runs.begun(deployment, types)
    except NoDeployment:
        return {}


def _is_late(status: RunStatus) -> bool:
    return status.name == "Late"


def end_left_behind(ledger: Ledger, flow_runs: FlowRuns, lease_s: float) -> list[str]:
    """End runs of batches and chunks that the ledger has ended or replaced for a lease.

    Args:
        ledger: The ledger of the batches. Runs of batches that it does not have are left alone.
        flow_runs: Access to the flow runs in Prefect.
        lease_s: Seconds without a heartbeat after which a leg counts as dead.

    Returns:
        The flow runs that were ended.

    Raises:
        PrefectUnavailable: Prefect does not answer.
    """
    candidates = [
        Candidate(flow_run, _batch_of(status), status.chunk)
        for flow_run, status in flow_runs.holding_slots().items()
        if status.age_s() >= max(lease_s, _SLOWEST_START_S[status.type])
    ]
    if not candidates:
        return []
    ended = []
    for flow_run in ledger.read(left_behind, candidates, max(lease_s, _SHORTEST_LEASE_S)):
        try:
            flow_runs.mark_crashed(
                flow_run, "Its process no longer responds, and its work has gone on."
            )
        except PrefectUnavailable as error:
            if error.may_pass:
                raise
            logger.warning("Flow run %s could not be ended: %s", flow_run, error)
        else:
            ended.append(flow_run)
    return ended


def _batch_of(status: RunStatus) -> str | None:
    tags = [tag.removeprefix(_BATCH_TAG) for tag in status.tags if tag.startswith(_BATCH_TAG)]
    return tags[0] if tags else None
