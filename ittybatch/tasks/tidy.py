"""Tidy: remove what the ledger keeps only to look at, of old batches."""

from dataclasses import asdict
from datetime import timedelta

from prefect.logging import get_run_logger

from ittybatch.ledger import Ledger
from ittybatch.ledger.retention import Removed
from ittybatch.ledger.retention import tidy as remove_old
from ittybatch.tasks.step import step


@step("tidy")
def tidy(ledger: Ledger, keep_days: int) -> Removed:
    """Remove webhooks' bodies, polled answers and rejected rows of batches older than this."""
    removed = remove_old(ledger, older_than=timedelta(days=keep_days))
    counts = ", ".join(f"{name} {count:,}" for name, count in asdict(removed).items())
    get_run_logger().info("Removed of batches that ended over %d days ago: %s.", keep_days, counts)
    return removed
