"""Wake: look after every flow run that the ledger knows of."""

from prefect.logging import get_run_logger

from ittybatch.engine.flow_runs import open_flow_runs
from ittybatch.engine.tidying import tidy
from ittybatch.engine.waking import Waker
from ittybatch.ledger import Ledger
from ittybatch.settings import Settings
from ittybatch.tasks.step import step


@step("wake")
def wake(ledger: Ledger, settings: Settings) -> None:
    """Wake what is ready, make what is missing, replace what is dead or ended unseen."""
    logger = get_run_logger()
    with open_flow_runs() as flow_runs:
        waker = Waker(ledger, flow_runs, lease_s=settings.lease_s)
        for woken in (waker.round(), waker.check_waiting()):
            for how, owners in woken.by_kind():
                for owner in owners:
                    logger.info("%s: %s", how, owner)
        if stuck := tidy(flow_runs):
            logger.info("Ended %d runs of reconcile and steer-batch that were stuck.", len(stuck))
