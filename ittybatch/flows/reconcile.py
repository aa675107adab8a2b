"""Reconcile: poll jobs that no webhook reported, and wake or replace flow runs that need it."""

import asyncio

from prefect import State, flow
from prefect.logging import get_run_logger
from prefect.states import Completed

from ittybatch.engine.reconciling import reconcile as reconcile_all
from ittybatch.tasks.leg import settings_and_ledger
from ittybatch.tasks.step import ends_quietly


@flow(name="reconcile", flow_run_name="reconcile", description=__doc__)
@ends_quietly
def reconcile() -> State[None]:
    """Reconcile the ledger with Ittybit and Prefect. Concurrent runs are safe."""
    with settings_and_ledger() as (settings, ledger):
        done = asyncio.run(reconcile_all(settings, ledger))
    for what, count in done.items():
        if count:
            get_run_logger().info("%s: %d", what, count)
    return Completed(message="Ledger, Ittybit and Prefect agree.")
