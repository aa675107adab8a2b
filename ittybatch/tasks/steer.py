"""Steer: approve, pause, resume, cancel or tune a batch."""

from prefect.logging import get_run_logger

from ittybatch.engine.steering import Action, Steered
from ittybatch.engine.steering import steer as carry_out
from ittybatch.engine.tuning import Tuning
from ittybatch.ledger import Ledger
from ittybatch.ledger.queries import find_batch
from ittybatch.settings import Settings
from ittybatch.tasks.step import step


@step("steer")
def steer(
    ledger: Ledger, settings: Settings, batch: str, action: Action, changes: Tuning
) -> Steered:
    """Carry out what an operator wants of a batch."""
    found = ledger.read(find_batch, batch)
    by = "the steer-batch deployment"
    done = carry_out(ledger, settings, found, action, by=by, changes=changes)
    get_run_logger().info(done.told())
    return done
