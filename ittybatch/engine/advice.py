"""Advice on what to do about failed jobs, by reason of failure."""

import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from ittybatch.engine.amounts import format_count
from ittybatch.ittybit.failures import classify_failure
from ittybatch.ittybit.job import JobError, JobStatus
from ittybatch.ledger.states import JobState

_MAX_COMMANDS = 3
_MAX_TEXT_CHARS = 60


class Outlook(StrEnum):
    """The likely result of another attempt at a job."""

    PASSING = "may pass"
    WOULD_FAIL_AGAIN = "would fail again"
    UNKNOWN_END = "may have been made"
    CANCELLED = "was cancelled"


EXPLANATIONS: Mapping[Outlook, str] = {
    Outlook.PASSING: "Another attempt may pass.",
    Outlook.WOULD_FAIL_AGAIN: (
        "Another attempt would fail again, and be billed again. Fix the files, or the options in "
        "the profile, or the access to the bucket first."
    ),
    Outlook.UNKNOWN_END: (
        "Ittybit reported no end in time, and may have made and billed them. A retry asks Ittybit "
        "first, records those that have succeeded, and makes the others again."
    ),
    Outlook.CANCELLED: "They were cancelled. A retry makes them after all.",
}


def outlook(reason: Mapping[str, Any]) -> Outlook:
    """Predict the result of another attempt.

    Args:
        reason: `state`, `error_kind` and `error_message` of a job that did not succeed.
    """
    match JobState(reason["state"]):
        case JobState.EXPIRED:
            return Outlook.UNKNOWN_END
        case JobState.CANCELLED:
            return Outlook.CANCELLED
        case _:
            kind, message = reason["error_kind"], reason["error_message"]
            error = JobError(kind, message or kind) if message or kind else None
            passing = classify_failure(error, JobStatus.FAILED).retryable
            return Outlook.PASSING if passing else Outlook.WOULD_FAIL_AGAIN


def advise(batch: str, reasons: Sequence[Mapping[str, Any]]) -> list[str]:
    """Advise what to do about a batch's failures, in one or two sentences per outlook.

    Args:
        batch: The batch's id.
        reasons: The batch's failures by state and reason, each with its number of jobs.
    """
    by_outlook: dict[Outlook, list[Mapping[str, Any]]] = {}
    for reason in reasons:
        by_outlook.setdefault(outlook(reason), []).append(reason)
    alone = len(by_outlook) == 1
    return [
        _ADVICE[each].format(
            jobs=_jobs(by_outlook[each]), retry=_retry(batch, each, by_outlook[each], alone=alone)
        )
        for each in Outlook
        if each in by_outlook
    ]


def advise_job(reason: Mapping[str, Any], then: str = "make it again") -> str:
    """Advise what to do about one job that did not succeed, without a command.

    Args:
        reason: `state`, `error_kind` and `error_message` of the job.
        then: The last step, as the reader can take it, after something was wrong and was fixed.
    """
    return _ADVICE_FOR_ONE[outlook(reason)].format(then=then)


_ADVICE_FOR_ONE = {
    Outlook.PASSING: "This failure may pass: another attempt can succeed.",
    Outlook.WOULD_FAIL_AGAIN: (
        "It would fail again, and be billed again. Fix the file, or the options in the profile: "
        "the next run of the source makes what has changed. If something else was wrong, for "
        "example access to a bucket, fix that first, then {then}."
    ),
    Outlook.UNKNOWN_END: (
        "Ittybit reported no end before the deadline, and may have made and billed it. A retry "
        "asks Ittybit first, records the result if there is one, and otherwise makes it again."
    ),
    Outlook.CANCELLED: "It was cancelled. A retry makes it after all.",
}
_ADVICE = {
    Outlook.PASSING: "{jobs} failed in a way that may pass. Send them again: {retry}",
    Outlook.WOULD_FAIL_AGAIN: (
        "{jobs} would fail again, and be billed again. Fix the file, or the options in the "
        "profile: the next run of the source makes what has changed. If something else was "
        "wrong, for example access to a bucket, fix that first, then: {retry}"
    ),
    Outlook.UNKNOWN_END: (
        "{jobs} expired before Ittybit reported an end, and may have been made and billed. This "
        "asks Ittybit first, records those that have succeeded, and makes the others again: {retry}"
    ),
    Outlook.CANCELLED: "{jobs} cancelled. To make them after all: {retry}",
}


def _jobs(reasons: Sequence[Mapping[str, Any]]) -> str:
    return format_count(sum(int(reason["jobs"]) for reason in reasons), "job")


def _retry(batch: str, which: Outlook, reasons: Sequence[Mapping[str, Any]], *, alone: bool) -> str:
    """Return the commands that retry exactly these jobs."""
    command = f"ittybatch retry {batch}"
    if which is Outlook.UNKNOWN_END:
        return f"`{command} --state expired`"
    if which is Outlook.CANCELLED:
        return f"`{command} --state cancelled`"
    if alone and which is Outlook.PASSING:
        return f"`{command} --state failed`"
    texts = list(dict.fromkeys(_search_text(reason) for reason in reasons))
    commands = [
        f"`{command} --state failed --reason {shlex.quote(each)}`" if each else f"`{command}`"
        for each in texts[:_MAX_COMMANDS]
    ]
    more = f", and likewise for {len(texts) - _MAX_COMMANDS} more reasons"
    return ", ".join(commands) + (more if len(texts) > _MAX_COMMANDS else "")


def _search_text(reason: Mapping[str, Any]) -> str:
    """Return a text for `--reason` that finds a failure: the start of its message."""
    text = str(reason["error_message"] or reason["error_kind"] or "")
    # A backtick would end the command.
    return text.partition("\n")[0].partition("`")[0][:_MAX_TEXT_CHARS].strip()
