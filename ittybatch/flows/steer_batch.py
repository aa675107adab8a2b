"""Steer: approve, pause, resume, cancel or tune a batch, from the Prefect UI."""

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed

from ittybatch.engine.steering import steer
from ittybatch.flows.parameters import NO_CHANGES, BatchName, Changes, SteerAction
from ittybatch.ledger.actions import Via
from ittybatch.ledger.queries import find_batch
from ittybatch.tasks.leg import settings_and_ledger
from ittybatch.tasks.step import ends_quietly


@flow(name="steer-batch", flow_run_name="{action} {batch}", description=__doc__)
@ends_quietly
def steer_batch(
    action: SteerAction, batch: BatchName = "latest", changes: Changes = NO_CHANGES
) -> State[None]:
    """Apply an operator's action to a batch."""
    with settings_and_ledger() as (settings, ledger):
        found = ledger.read(find_batch, batch)
        by = f"flow run {flow_run.name or 'steer-batch'}"
        done = steer(ledger, settings, found, action, by=by, via=Via.PREFECT, changes=changes)
        return Completed(message=done.describe())
