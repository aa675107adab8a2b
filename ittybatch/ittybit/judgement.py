"""The one place that decides what a failure means: try again, give up, wait, or stop."""

import re
from dataclasses import dataclass
from enum import StrEnum

from ittybatch.ittybit.errors import (
    AuthenticationError,
    InvalidRequest,
    IttybitError,
    PaymentRequired,
    RateLimited,
    Redirected,
)
from ittybatch.ittybit.job import JobError, JobStatus

_PERMANENT_KINDS = frozenset(
    {
        "invalid_input",
        "request_invalid",
        "url_required",
        "format_unsupported",
        "payment_required",
        "project_required",
        "token_missing",
        "token_invalid",
        "job_not_found",
        "task_not_found",
        "run_not_found",
        "automation_not_found",
    }
)
_RETRYABLE_KINDS = frozenset({"internal_error", "rate_limited", "timeout"})
# These two cover an input that is wrong and one that could not be fetched just now.
_VAGUE_KINDS = frozenset({"invalid_input", "request_invalid"})

_HTTP_STATUS = re.compile(
    r"\b(?:https?|status|code|error|returned|responded|response|got|received)\b"
    r"[^0-9a-z]{0,3}(?:(?:error|status|code|with|of|a)[^0-9a-z]{1,3}){0,3}([45]\d\d)\b"
)
_RETRYABLE_STATUSES = frozenset({408, 425, 429})
_FIRST_SERVER_STATUS = 500

_TRANSIENT_FETCH = re.compile(
    r"time[d]?[ -]?out|temporar|try again|retry later|too many requests|throttl|rate limit"
    r"|slow ?down|unavailable|bad gateway|connection (?:was )?(?:reset|refused|closed|aborted)"
    r"|internal(?: server)? error|econnre|etimedout|socket hang ?up|broken pipe"
)
_TRANSIENT = re.compile(
    r"overload|capacity|out of memory|network"
    r"|interrupted|preempt|evicted|worker (?:lost|died|crashed)|deadline|dns"
    r"|resolve host|name resolution"
)
_PERMANENT = re.compile(
    r"unsupported|not supported|unknown (?:codec|format)|invalid|malformed|corrupt|truncated"
    r"|(?:cannot|can't|could not|couldn't|unable to|failed to) (?:be )?"
    r"(?:decode|demux|parse|probe|recogni[sz]e)"
    r"|undecodable|moov atom|no (?:video|audio|media) (?:stream|track)|not a (?:video|media|valid)"
    r"|not found|no such|does ?n[o']t exist|access denied|forbidden|unauthori[sz]ed|permission"
    r"|encrypted|\bdrm\b|too (?:large|long|big)|exceeds|expired|empty file|zero bytes"
)


# Ittybit documents no message for this.
_PAST_END = re.compile(
    r"\b(?:past|beyond|after|outside) the (?:end|duration|length|range)"
    r"|\bstart\b.*(?:\bends? at\b|past|beyond|after|outside|exceed|longer|greater|out of range)"
    r"|nothing at the asked time"
)


class Refusal(StrEnum):
    """What the refusal of a submission means for its job and its batch."""

    FAIL = "fail"
    """The job can never be submitted like this; the others can."""
    STOP = "stop"
    """Nothing can be submitted until somebody acts: the key, the account, the address."""
    LATER = "later"
    """Surely not accepted: submit it later."""
    UNKNOWN = "unknown"
    """It may have been accepted: send it again, under the same key."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a failed job is worth another attempt, and why, in words for its user."""

    retryable: bool
    reason: str


def judge(error: JobError | None, status: JobStatus) -> Judgement:
    """Decide whether another attempt at a job can end differently.

    Anything unrecognised is retryable, because attempts are bounded and a job given up too
    early is lost. A cancelled job is not, unless its error is known to pass: there is no
    cancelling through the API, so somebody decided it, and a new attempt would overrule and
    bill them.
    """
    if not status.terminal or status is JobStatus.SUCCEEDED:
        return Judgement(retryable=False, reason=f"The job has not failed: it is {status}.")
    verdict = _verdict(error) if error else None
    if verdict is not None:
        return verdict
    if status is JobStatus.CANCELLED:
        return Judgement(
            retryable=False,
            reason="It was cancelled at Ittybit, so it is not sent again by itself.",
        )
    if error is None:
        return Judgement(retryable=True, reason="Ittybit gave no reason for the failure.")
    return Judgement(retryable=True, reason=f"Not a known permanent failure: {_shown(error)}.")


def _verdict(error: JobError) -> Judgement | None:
    kind = (error.kind or "").lower()
    message = error.message.lower()
    if kind in _RETRYABLE_KINDS:
        return Judgement(retryable=True, reason=f"Ittybit had a passing fault: {_shown(error)}.")
    if kind in _PERMANENT_KINDS and kind not in _VAGUE_KINDS:
        return Judgement(retryable=False, reason=f"It would fail again: {_shown(error)}.")
    passing = _passing(f"{kind.replace('_', ' ')}: {message}", vague=kind in _VAGUE_KINDS)
    if passing is None:
        return None
    if passing:
        return Judgement(retryable=True, reason=f"It may pass: {_shown(error)}.")
    return Judgement(retryable=False, reason=f"It would fail again: {_shown(error)}.")


def _passing(message: str, *, vague: bool) -> bool | None:
    """Whether the words speak of something that passes; None where they do not say."""
    http = _HTTP_STATUS.search(message)
    if http:
        code = int(http[1])
        return code >= _FIRST_SERVER_STATUS or code in _RETRYABLE_STATUSES
    if _TRANSIENT_FETCH.search(message):
        return True
    if vague or _PERMANENT.search(message):
        return False
    return True if _TRANSIENT.search(message) else None


def _shown(error: JobError) -> str:
    message = error.message.rstrip(". ")
    return f"{error.kind}: {message}" if error.kind and error.kind != message else message


def is_past_end(kind: str | None, message: str | None) -> bool:
    """Say whether a job failed because its `start` lies past the end of the input.

    Args:
        kind: The error's kind.
        message: The error's message.
    """
    return (kind or "").lower() in _VAGUE_KINDS and bool(_PAST_END.search((message or "").lower()))


def judge_refusal(error: IttybitError) -> Refusal:
    """Decide what becomes of a submission that ended in an error.

    `STOP` says nothing about whether an earlier try was accepted: ask `outcome_unknown`.
    """
    if isinstance(error, AuthenticationError | PaymentRequired | Redirected):
        return Refusal.STOP
    if error.outcome_unknown:
        return Refusal.UNKNOWN
    if isinstance(error, RateLimited):
        return Refusal.LATER
    return Refusal.FAIL if isinstance(error, InvalidRequest) else Refusal.UNKNOWN
