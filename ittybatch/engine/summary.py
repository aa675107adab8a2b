"""The summary of a batch, as `run_batch` returns it to Python."""

from prefect.exceptions import CancelledRun, FailedRun
from pydantic import BaseModel, ConfigDict

from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.states import BatchState


class BatchSummary(BaseModel):
    """What a batch came to.

    Args:
        id: The batch's id; None for a dry run, which makes no batch.
        state: Its state; None for a dry run.
        reason: Why it is held, cancelled or waits for approval.
        counts: Numbers of `jobs`, `succeeded`, `failed`, `expired`, `cancelled` and so on; for a
            dry run the plan's counts.
    """

    model_config = ConfigDict(frozen=True)

    id: str | None
    state: BatchState | None
    reason: str | None = None
    counts: dict[str, int]


class BatchFailed(FailedRun):
    """Jobs of the batch failed, or it is held.

    Args:
        message: What happened, and what to do next.
        summary: The batch.
    """

    def __init__(self, message: str, summary: BatchSummary | None = None) -> None:
        super().__init__(message)
        self.summary = summary


class BatchStopped(CancelledRun):
    """The batch was paused or cancelled, or waits for approval.

    Args:
        message: What happened, and what to do next.
        summary: The batch.
    """

    def __init__(self, message: str, summary: BatchSummary | None = None) -> None:
        super().__init__(message)
        self.summary = summary


def summarise(status: BatchStatus) -> BatchSummary:
    """Summarise a batch as it is now."""
    return BatchSummary(
        id=status.id, state=status.state, reason=status.reason, counts=dict(status.counts)
    )
