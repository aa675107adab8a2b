"""Recount: check the counters of chunks against their rows."""

from prefect.logging import get_run_logger

from ittybatch.ledger import Ledger
from ittybatch.ledger.counters import recount_all
from ittybatch.tasks.step import step


@step("recount")
def recount_batches(ledger: Ledger) -> None:
    """Mend counters that differ from their rows, and say so: it should never happen."""
    for mended in recount_all(ledger):
        get_run_logger().warning(
            "Batch %s, chunk %d: its counters were wrong; they are %s now.",
            mended.batch,
            mended.number,
            mended.counts,
        )
