"""Reconcile: what no webhook told is asked for, and what nobody woke is woken."""

from prefect import State, flow
from prefect.states import Completed

from ittybatch.tasks.ending import ends_quietly
from ittybatch.tasks.leg import open_books
from ittybatch.tasks.poll import poll
from ittybatch.tasks.recount import recount_batches
from ittybatch.tasks.wake import wake


@flow(name="reconcile", flow_run_name="reconcile", description=__doc__)
@ends_quietly
def reconcile() -> State[None]:
    """Bring the ledger, Ittybit and Prefect to one view. Safe to run twice at once."""
    with open_books() as (settings, ledger):
        poll(ledger, settings)
        recount_batches(ledger)
        wake(ledger, settings)
    return Completed(message="Ledger, Ittybit and Prefect agree.")
