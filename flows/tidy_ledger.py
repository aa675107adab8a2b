"""Tidy: what the ledger keeps only to look at is removed when it is old."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from tasks.leg import open_books
from tasks.tidy import tidy

KeepDays = Annotated[
    int | None,
    Field(
        title="Days to keep",
        ge=1,
        description="Webhooks' bodies, polled answers and rejected rows of batches that ended "
        "longer ago are removed. Empty: ITTYBATCH_KEEP_DAYS.",
    ),
]


@flow(name="tidy-ledger", flow_run_name="tidy-ledger", description=__doc__)
def tidy_ledger(keep_days: KeepDays = None) -> None:
    """Remove it in small steps, beside everything else. Safe to repeat and to cut off."""
    with open_books() as (settings, ledger):
        tidy(ledger, keep_days or settings.keep_days)
