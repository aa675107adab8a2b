"""Advice on failed jobs: what to do depends on why each of them failed."""

import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from ittybatch.ittybit.failures import classify_failure
from ittybatch.ittybit.job import JobError, JobStatus
from ittybatch.ledger.states import JobState

_MOST_COMMANDS = 3
_LONGEST_WORDS = 60


class Outlook(StrEnum):
    """What another attempt at a job can be expected to come to."""

    PASSING = "may pass"
    WOULD_FAIL_AGAIN = "would fail again"
    UNKNOWN_END = "may have been made"
    CANCELLED = "was cancelled"


def outlook(reason: Mapping[str, Any]) -> Outlook:
    """Tell what another attempt can be expected to come to.

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
    """Say what to do about a batch's failures, in a sentence or two for each outlook.

    Args:
        batch: The batch's id.
        reasons: Its failures by state and reason, each with its number of jobs.
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


_ADVICE = {
    Outlook.PASSING: "{jobs} failed in a way that may pass. Send them again: {retry}",
    Outlook.WOULD_FAIL_AGAIN: (
        "{jobs} would fail again, and be billed again. Mend the file, or the options in the "
        "profile: what has changed is made by the next run of its source. If something else was "
        "wrong, such as access to a bucket, mend that first, then: {retry}"
    ),
    Outlook.UNKNOWN_END: (
        "{jobs} expired without word of their end, and may have been made and billed. This asks "
        "Ittybit first, takes those that have succeeded, and makes the others again: {retry}"
    ),
    Outlook.CANCELLED: "{jobs} cancelled. If they are wanted after all: {retry}",
}


def _jobs(reasons: Sequence[Mapping[str, Any]]) -> str:
    count = sum(int(reason["jobs"]) for reason in reasons)
    return f"{count:,} {'job' if count == 1 else 'jobs'}"


def _retry(batch: str, which: Outlook, reasons: Sequence[Mapping[str, Any]], *, alone: bool) -> str:
    """The commands that make these jobs again, and no others."""
    command = f"ittybatch retry {batch}"
    if which is Outlook.UNKNOWN_END:
        return f"`{command} --state expired`"
    if which is Outlook.CANCELLED:
        return f"`{command} --state cancelled`"
    if alone and which is Outlook.PASSING:
        return f"`{command} --state failed`"
    words = list(dict.fromkeys(_words(reason) for reason in reasons))
    commands = [
        f"`{command} --state failed --reason {shlex.quote(each)}`" if each else f"`{command}`"
        for each in words[:_MOST_COMMANDS]
    ]
    more = f", and likewise for {len(words) - _MOST_COMMANDS} more reasons"
    return ", ".join(commands) + (more if len(words) > _MOST_COMMANDS else "")


def _words(reason: Mapping[str, Any]) -> str:
    """What tells a reason from others: its message, which `--reason` looks for."""
    text = str(reason["error_message"] or reason["error_kind"] or "")
    # A backtick would end the command that the words stand in.
    return text.partition("\n")[0].partition("`")[0][:_LONGEST_WORDS].strip()
