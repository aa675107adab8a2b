"""Ask Prefect, now and then, whether the flow run that is to begin a batch has ended."""

import logging
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from ittybatch.engine.flow_runs import FlowRuns

logger = logging.getLogger(__name__)

# A run rarely ends without a batch, so Prefect is asked less often than the ledger.
_ASK_EVERY_S = 3.0


class FlowRunEnds:
    """Asks Prefect with one client for the whole of a wait. Use it as a context manager."""

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._flow_runs: FlowRuns | None = None
        self._asked_at = float("-inf")
        self._ended: set[str] = set()

    def __enter__(self) -> Self:
        """Connect to nothing yet: most waits do not need Prefect."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the connection to Prefect."""
        self._opened.close()

    def has_ended(self, flow_run: str) -> bool:
        """Whether Prefect says that a flow run has ended, or does not know it.

        False if Prefect was asked a moment ago, or does not answer: the caller asks again.

        Args:
            flow_run: The flow run's id.

        Raises:
            PrefectUnavailable: Prefect refuses the request, and would refuse it again.
        """
        from ittybatch.engine.flow_runs import (  # noqa: PLC0415  see the package
            PrefectUnavailable,
            open_flow_runs,
        )
        from ittybatch.engine.impatience import impatient  # noqa: PLC0415  likewise

        if flow_run in self._ended:
            return True
        if time.monotonic() - self._asked_at < _ASK_EVERY_S:
            return False
        try:
            # The caller has a time limit, and Prefect's own may add up to six minutes a request.
            with impatient():
                if self._flow_runs is None:
                    self._flow_runs = self._opened.enter_context(open_flow_runs())
                status = self._flow_runs.statuses([flow_run]).get(flow_run)
        except PrefectUnavailable as error:
            if not error.may_pass:
                raise
            logger.warning("Still waiting for the batch of flow run %s: %s", flow_run, error)
            return False
        finally:
            self._asked_at = time.monotonic()
        if status is None or status.ended:
            self._ended.add(flow_run)
        return flow_run in self._ended
