"""Tidy: what the ledger keeps only to look at is removed when it is old."""

from prefect import flow

from ittybatch.flows.parameters import KeepDays
from ittybatch.tasks.leg import open_books
from ittybatch.tasks.tidy import tidy


@flow(name="tidy-ledger", flow_run_name="tidy-ledger", description=__doc__)
def tidy_ledger(keep_days: KeepDays = None) -> None:
    """Remove it in small steps, beside everything else. Safe to repeat and to cut off."""
    with open_books() as (settings, ledger):
        tidy(ledger, keep_days or settings.keep_days)
