"""Alerting: a batch that was held from outside is shown in Prefect as one that held itself."""

import logging

from prefect.client.schemas.objects import StateType
from prefect.states import Failed

from ittybatch.engine.flow_runs import FlowRuns, PrefectUnavailable
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.runs import read_run
from ittybatch.ledger.states import BatchState

logger = logging.getLogger(__name__)


def show_held(ledger: Ledger, flow_runs: FlowRuns, batch: str) -> None:
    """End a held batch's flow run as Failed, with the reason.

    For a batch whose runs are given up: no leg of it will say so. The run may be suspended, and
    would stay so until its timeout; or it has crashed, which no alert on Failed is about.
    """
    found = ledger.read(read_batch, batch)
    run = ledger.read(read_run, batch_owner(batch))
    if found.state is not BatchState.HELD or run is None or run.flow_run_id is None:
        return
    try:
        status = flow_runs.statuses([run.flow_run_id]).get(run.flow_run_id)
        if status is None or status.type is StateType.FAILED:
            return
        resume = f"`ittybatch resume {batch}` goes on, in a new flow run."
        flow_runs.set_state(run.flow_run_id, Failed(message=f"{found.reason} {resume}"))
    except PrefectUnavailable as error:
        logger.warning("Prefect does not show that batch %s is held: %s", batch, error)
