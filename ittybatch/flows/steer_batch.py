"""Steer: approve, pause, resume, cancel or tune a batch, from the Prefect UI."""

from prefect import State, flow
from prefect.states import Completed

from ittybatch.flows.parameters import NO_CHANGES, BatchName, Changes, SteerAction
from ittybatch.tasks.ending import ends_quietly
from ittybatch.tasks.leg import open_books
from ittybatch.tasks.steer import steer


@flow(name="steer-batch", flow_run_name="{action} {batch}", description=__doc__)
@ends_quietly
def steer_batch(
    action: SteerAction, batch: BatchName = "latest", changes: Changes = NO_CHANGES
) -> State[None]:
    """Carry out what an operator wants of a batch."""
    with open_books() as (settings, ledger):
        return Completed(message=steer(ledger, settings, batch, action, changes).told())
