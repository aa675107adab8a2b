"""The summary of a batch that `run_batch` returns to its caller."""

from prefect.exceptions import CancelledRun, FailedRun
from pydantic import BaseModel, ConfigDict

from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.states import BatchState


class BatchSummary(BaseModel):
    """The result of a batch.

    Args:
        id: The batch's id; None for a dry run, which creates no batch.
        state: The batch's state; None for a dry run.
        reason: Why the batch is held, was cancelled or is waiting for approval.
        counts: Counts of `jobs`, `succeeded`, `failed`, `expired`, `cancelled` and so on. For a
            dry run, the counts of the plan.
    """

    model_config = ConfigDict(frozen=True)

    id: str | None
    state: BatchState | None
    reason: str | None = None
    counts: dict[str, int]


class BatchFailed(FailedRun):
    """Some jobs of the batch failed, or the batch is held.

    Args:
        message: What happened, and what to do next.
        summary: The result so far.
    """

    def __init__(self, message: str, summary: BatchSummary | None = None) -> None:
        super().__init__(message)
        self.summary = summary


class BatchStopped(CancelledRun):
    """The batch was paused or cancelled, or is waiting for approval.

    Args:
        message: What happened, and what to do next.
        summary: The result so far.
    """

    def __init__(self, message: str, summary: BatchSummary | None = None) -> None:
        super().__init__(message)
        self.summary = summary


def summarise(status: BatchStatus) -> BatchSummary:
    """Summarise the current state of a batch."""
    return BatchSummary(
        id=status.id, state=status.state, reason=status.reason, counts=dict(status.counts)
    )
