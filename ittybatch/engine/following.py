"""Wait for the batch of a flow run, and for its end."""

import time

from ittybatch.engine.flow_runs import FlowRuns
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.queries import BatchStatus, batch_of_run, batch_status
from ittybatch.ledger.states import BatchState

_CHECK_EVERY_S = 0.5
_ASK_PREFECT_EVERY_S = 3.0


class NoBatch(IttybatchError):
    """A flow run ended before it had begun a batch."""


def await_batch(
    ledger: Ledger, flow_runs: FlowRuns, flow_run: str, *, within_s: float | None = None
) -> str | None:
    """Wait until a worker has created the batch of a flow run.

    Args:
        ledger: The ledger that will have the batch.
        flow_runs: Access to flow runs in Prefect.
        flow_run: The flow run's id.
        within_s: Seconds to wait; None to wait until the run has a batch or has ended.

    Returns:
        The batch's id; None after `within_s`.

    Raises:
        NoBatch: The run ended without a batch.
    """
    began = time.monotonic()
    # A run rarely ends without a batch, so query Prefect less often than the ledger.
    asked_at = began
    while True:
        if batch := ledger.read(batch_of_run, flow_run):
            return batch
        now = time.monotonic()
        if within_s is not None and now - began >= within_s:
            return None
        if now - asked_at >= _ASK_PREFECT_EVERY_S:
            asked_at = now
            found = flow_runs.statuses([flow_run]).get(flow_run)
            if found is None or found.ended:
                why = found.message if found else "it was deleted"
                raise NoBatch(f"The flow run ended before it began a batch: {why}")
        time.sleep(_CHECK_EVERY_S)


def await_end(ledger: Ledger, batch: str) -> BatchStatus:
    """Wait until a batch has ended and nothing of it is at Ittybit, or until somebody must act."""
    while True:
        status = ledger.read(batch_status, batch)
        if status.state in {BatchState.HELD, BatchState.UNAPPROVED}:
            return status
        if status.state.ended and not status.counts["in_flight"]:
            return status
        time.sleep(_CHECK_EVERY_S)
