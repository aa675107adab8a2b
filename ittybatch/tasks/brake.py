"""Brake: stop a batch whose jobs fail one like the other."""

from prefect.logging import get_run_logger

from ittybatch.ledger import Ledger
from ittybatch.ledger.brakes import hold_if_alike
from ittybatch.tasks.step import step


@step("brake")
def brake(ledger: Ledger, batch: str) -> None:
    """Hold the batch if its newest attempts nearly all failed for one reason."""
    if ledger.write(hold_if_alike, batch):
        get_run_logger().error("Nearly all of the newest attempts failed alike: batch held.")
