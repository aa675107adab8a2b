"""What the demo expects of the file that is broken on purpose, and says about it at its end."""

from collections.abc import Mapping, Sequence
from typing import Any

from ittybatch.cli.status import SOME_FAILED, SUCCEEDED
from ittybatch.engine.amounts import format_count
from ittybatch_local.media import UNFINISHED

_MADE = "succeeded"
_FOR_GOOD = "invalid_input"
# A picture of its first seconds can be made of a half-uploaded film.
_NEEDS_LITTLE = "image"


def exit_status(batch: int, jobs: Sequence[Mapping[str, Any]]) -> int:
    """The demo's exit status: 0 if exactly the jobs that need the whole file have failed.

    Args:
        batch: The exit status of the batch.
        jobs: The jobs of its JSON report.
    """
    if batch not in {SUCCEEDED, SOME_FAILED}:
        return batch
    expected = all(
        _has_failed_for_good(each)
        if _is_unfinished(each) and each["kind"] != _NEEDS_LITTLE
        else each["status"] == _MADE
        for each in jobs
    )
    return SUCCEEDED if expected else SOME_FAILED


def explain(jobs: Sequence[Mapping[str, Any]], page: str) -> str | None:
    """Say what is broken, why, and where to look; None if nothing of the file has failed.

    Args:
        jobs: The jobs of the batch's JSON report.
        page: The address of the batch on the page.
    """
    failed = [each for each in jobs if _is_unfinished(each) and each["status"] != _MADE]
    if not failed:
        return None
    reason = (failed[0]["error"] or {}).get("message") or "it gave no reason"
    return (
        f"One file is broken on purpose: {UNFINISHED} is a video whose upload stopped half-way.\n"
        f"{format_count(len(failed), 'job')} of it failed for good: {reason}.\n"
        "Why they failed, and what another attempt would cost, is on the batch's page:\n"
        f"  {page}#failures"
    )


def _is_unfinished(job: Mapping[str, Any]) -> bool:
    return str(job["input"]).endswith(f"/{UNFINISHED}")


def _has_failed_for_good(job: Mapping[str, Any]) -> bool:
    return job["status"] == "failed" and (job["error"] or {}).get("kind") == _FOR_GOOD
