"""The waker's thread: once a second it resumes the flow runs that have work to do."""

import logging
import threading

from prefect.settings import get_current_settings

from ittybatch.engine.flow_runs import open_flow_runs
from ittybatch.engine.replacing import Woken
from ittybatch.engine.waking import Waker
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.receiver.metrics import Metrics

logger = logging.getLogger(__name__)

_MAX_WAIT_S = 30.0


class WakerThread:
    """Runs the waker next to the receiver until it is stopped.

    Args:
        ledger: Knows which runs are ready.
        metrics: Counts what each round did.
        lease_s: Seconds without a heartbeat after which a leg counts as dead.
        every_s: Seconds between rounds.
    """

    def __init__(
        self, ledger: Ledger, metrics: Metrics, *, lease_s: float, every_s: float = 1.0
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._lease_s = lease_s
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="waker", daemon=True)

    def start(self) -> None:
        """Start, if Prefect's address is known."""
        if get_current_settings().api.url is None:
            logger.warning("PREFECT_API_URL is not set: webhooks are stored, no run is woken.")
            return
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current round."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        wait_s = self._every_s
        while not self._stopping.wait(wait_s):
            try:
                with open_flow_runs() as flow_runs:
                    waker = Waker(self._ledger, flow_runs, lease_s=self._lease_s)
                    while not self._stopping.wait(self._every_s):
                        self._count(waker.round())
                        wait_s = self._every_s
            except IttybatchError as error:
                wait_s = self._next_wait_s(str(error), wait_s)
            except Exception as error:  # the waker must survive any error of one round
                logger.exception("The waker's round failed.")
                wait_s = self._next_wait_s(type(error).__name__, wait_s)

    def _next_wait_s(self, why: str, wait_s: float) -> float:
        self._metrics.waker_failed()
        wait_s = min(2 * wait_s, _MAX_WAIT_S)
        logger.warning("The waker retries in %.0f s: %s", wait_s, why)
        return wait_s

    def _count(self, woken: Woken) -> None:
        for how, owners in woken.by_kind():
            if owners:
                self._metrics.woken(how, len(owners))
                logger.info("%s: %s", how, ", ".join(owners))
