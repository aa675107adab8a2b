"""The contents of a report for the batch and for each job."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.results import JobRow, Result
from ittybatch.ledger.states import JobState

FAILED_STATES = (JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED)
_COUNTED = ("items", "jobs", "succeeded", "failed", "cancelled", "expired", "skipped")
COLUMNS = (
    "input",
    "rendition",
    "kind",
    "status",
    "attempts",
    "task_id",
    "output_url",
    "format",
    "width",
    "height",
    "duration_s",
    "size_bytes",
    "input_size_bytes",
    "check",
    "error_kind",
    "error_message",
    "submitted_at",
    "completed_at",
)


def batch_summary(status: BatchStatus) -> dict[str, Any]:
    """Return the report's entry for the batch."""
    return {
        "id": status.id,
        "name": status.name,
        "state": status.state.value,
        "reason": status.reason,
        "profile": status.profile,
        "source": status.source,
        "flow_run_id": status.flow_run_id,
        "created_at": _time(status.created_at),
        "ended_at": _time(status.ended_at),
        "tidied_at": _time(status.tidied_at),
        "retried": status.retried,
        "plan": status.plan,
    }


def counts_of(status: BatchStatus) -> dict[str, int]:
    """Return the counts that every format of the report shows."""
    return {name: status.counts[name] for name in _COUNTED}


def job_entry(row: JobRow) -> dict[str, Any]:
    """Return the JSON report's entry for a job. Only a checked output has a `check`."""
    output = {
        "format": row.format,
        "width": row.width,
        "height": row.height,
        "duration_s": row.duration_s,
        "size_bytes": row.size_bytes,
    }
    if isinstance(row, Result) and row.check:
        output["check"] = row.check
    error = {"kind": row.error_kind, "message": row.error_message}
    return {
        "input": row.input,
        "rendition": row.rendition,
        "kind": row.kind,
        "status": row.state.value,
        "attempts": row.attempts,
        "task_id": row.task_id,
        "output_url": row.output_url,
        "output": output if row.state is JobState.SUCCEEDED else None,
        "error": error if row.error_message else None,
        "submitted_at": _time(row.submitted_at),
        "completed_at": _time(row.completed_at),
    }


def job_columns(row: Result) -> Mapping[str, Any]:
    """Return a job as a row with the columns of `COLUMNS`."""
    return {name: row.state.value if name == "status" else getattr(row, name) for name in COLUMNS}


def _time(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
