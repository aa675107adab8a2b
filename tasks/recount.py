"""Recount: check the counters of unfinished batches against their rows."""

from prefect.logging import get_run_logger

from ittybatch.ledger import Ledger
from ittybatch.ledger.counters import recount
from ittybatch.ledger.queries import unfinished_batches
from tasks.step import step


@step("recount")
def recount_batches(ledger: Ledger) -> None:
    """Mend counters that differ from their rows, and say so: it should never happen."""
    for batch in ledger.read(unfinished_batches):
        for number, true in ledger.write(recount, batch):
            get_run_logger().warning(
                "Batch %s, chunk %d: its counters were wrong; they are %s now.",
                batch,
                number,
                true,
            )
