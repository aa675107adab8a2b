"""Adopt: record jobs of a batch that another ledger has already sent to Ittybit."""

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed

from ittybatch.engine.adopting import adopt
from ittybatch.flows.parameters import BatchName
from ittybatch.ledger.actions import Asker, Via
from ittybatch.ledger.queries import find_batch
from ittybatch.tasks.leg import settings_and_ledger
from ittybatch.tasks.step import ends_quietly


@flow(name="adopt-batch", flow_run_name="adopt {batch}", description=__doc__)
@ends_quietly
def adopt_batch(batch: BatchName = "latest") -> State[None]:
    """Look up a batch's unsent jobs at Ittybit, and record those that exist. Sends nothing."""
    with settings_and_ledger() as (settings, ledger):
        found = ledger.read(find_batch, batch)
        asker = Asker(f"flow run {flow_run.name or 'adopt-batch'}", Via.PREFECT)
        return Completed(message=adopt(settings, ledger, found, asker).describe())
