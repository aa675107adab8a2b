"""Results as the deliverer reads them from the ledger."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ittybatch.sinks.base import Outcome, Result

COMPLETED = datetime(2026, 11, 27, 11, 0, 4, 500_000, tzinfo=UTC)
SUBMITTED = datetime(2026, 11, 27, 11, 0, 0, tzinfo=UTC)


def succeeded(number: int = 1, **changes: Any) -> Result:  # noqa: ANN401
    """A job that made an output."""
    values: dict[str, Any] = {
        "outbox_id": number,
        "event": "ended",
        "job_id": number,
        "task_id": f"task-{number}",
        "batch_id": "batch-1",
        "batch_name": "nightly",
        "profile": "web",
        "rendition": "sd",
        "kind": "video",
        "status": "succeeded",
        "input_url": f"s3://media/in/{number}.mov",
        "destination": None,
        "output_url": f"https://cdn.test/{number}.mp4",
        "output_format": "mp4",
        "width": 1280,
        "height": 720,
        "duration_s": 124.5,
        "size_bytes": 48_230_912,
        "error_kind": None,
        "error": None,
        "attempts": 1,
        "metadata": {"media_id": f"m{number}"},
        "created_at": COMPLETED,
        "submitted_at": SUBMITTED,
        "completed_at": COMPLETED,
    }
    return Result(**{**values, **changes})


def failed(number: int = 1, error: str | None = "no video stream", **changes: Any) -> Result:  # noqa: ANN401
    """A job that failed."""
    nothing = dict.fromkeys(
        ("output_url", "output_format", "width", "height", "duration_s", "size_bytes")
    )
    values: dict[str, Any] = {
        "status": "failed",
        "error_kind": "invalid_input",
        "error": error,
        **nothing,
    }
    return succeeded(number, **{**values, **changes})


def accepted(number: int = 1, **changes: Any) -> Result:  # noqa: ANN401
    """A job that Ittybit has accepted."""
    values: dict[str, Any] = {
        "event": "accepted",
        "status": "processing",
        "error_kind": None,
        "completed_at": None,
    }
    return failed(number, None, **{**values, **changes})


def errors(outcomes: Sequence[Outcome]) -> dict[int, str | None]:
    """What became of each result."""
    return {outcome.outbox_id: outcome.error for outcome in outcomes}
