"""The API's answers about jobs that were taken."""

from collections.abc import Mapping, Sequence
from typing import Any

from ittybatch.intake.taken import TakenJob

SKIPPED = "skipped"
# The status of several jobs together is the first of these that one of them has.
_WEIGHT = ("processing", "held", "failed", "expired", "cancelled", "succeeded")


def answer_of(jobs: Sequence[TakenJob]) -> dict[str, Any]:
    """Answer a request with its jobs; the first one's ids are also the answer's own."""
    shown = [_shown(job) for job in jobs]
    first: Mapping[str, Any] = shown[0] if shown else {}
    answer: dict[str, Any] = {
        "task_id": first.get("task_id"),
        "job_id": first.get("job_id"),
        "status": overall_status([job.status for job in jobs]),
    }
    answer |= {name: first[name] for name in ("output_url", "error") if name in first}
    return {**answer, "jobs": shown}


def overall_status(statuses: Sequence[str]) -> str:
    """Name the status of several jobs together; a profile may make none of an item."""
    return min(statuses, key=_WEIGHT.index) if statuses else SKIPPED


def _shown(job: TakenJob) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "job_id": job.job_id,
        "task_id": job.task_id,
        "rendition": job.rendition,
        "kind": job.kind,
        "status": job.status,
    }
    if job.output_url is not None:
        shown["output_url"] = job.output_url
    if job.error is not None:
        shown["error"] = job.error
    return shown
