"""Decides what a failure means: retry, give up, wait, or stop. Only this file does."""

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
# Ittybit uses these two for invalid inputs and for inputs that it could not fetch just then.
_VAGUE_KINDS = frozenset({"invalid_input", "request_invalid"})

_HTTP_STATUS = re.compile(
    r"\b(?:https?|status|code|error|returned|responded|response|got|received)\b"
    r"[^0-9a-z]{0,3}(?:(?:error|status|code|with|of|a)[^0-9a-z]{1,3}){0,3}([45]\d\d)\b"
)
_RETRYABLE_STATUSES = frozenset({408, 425, 429})
_FIRST_SERVER_STATUS = 500

_TEMPORARY_FETCH = re.compile(
    r"time[d]?[ -]?out|temporar|try again|retry later|too many requests|throttl|rate limit"
    r"|slow ?down|unavailable|bad gateway|connection (?:was )?(?:reset|refused|closed|aborted)"
    r"|internal(?: server)? error|econnre|etimedout|socket hang ?up|broken pipe"
)
_TEMPORARY = re.compile(
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
    """What a refused submission means for its job and its batch."""

    FAIL = "fail"
    """Ittybit will never accept this job; other jobs are not affected."""
    STOP = "stop"
    """Ittybit accepts nothing until a person fixes the key, the account or the address."""
    LATER = "later"
    """Not accepted: submit it later."""
    UNKNOWN = "unknown"
    """Possibly accepted: send it again under the same key."""


@dataclass(frozen=True, slots=True)
class FailureClass:
    """Whether a failed job gets another attempt, and the reason to show to its user."""

    retryable: bool
    reason: str


def classify_failure(error: JobError | None, status: JobStatus) -> FailureClass:
    """Decide whether another attempt at a job can succeed.

    An unknown error is retryable, because attempts are limited and a job that is given up too
    early is lost. A cancelled job is not, unless its error is known to be temporary: the API
    cannot cancel jobs, so a person did, and a new attempt would override and bill them.
    """
    if not status.terminal or status is JobStatus.SUCCEEDED:
        return FailureClass(retryable=False, reason=f"The job has not failed: it is {status}.")
    verdict = _verdict(error) if error else None
    if verdict is not None:
        return verdict
    if status is JobStatus.CANCELLED:
        return FailureClass(
            retryable=False,
            reason="It was cancelled at Ittybit, so it is not sent again automatically.",
        )
    if error is None:
        return FailureClass(retryable=True, reason="Ittybit gave no reason for the failure.")
    return FailureClass(retryable=True, reason=f"Not known to be permanent: {_shown(error)}.")


def _verdict(error: JobError) -> FailureClass | None:
    kind = (error.kind or "").lower()
    message = error.message.lower()
    if kind in _RETRYABLE_KINDS:
        return FailureClass(
            retryable=True, reason=f"A temporary fault at Ittybit: {_shown(error)}."
        )
    if kind in _PERMANENT_KINDS and kind not in _VAGUE_KINDS:
        return FailureClass(retryable=False, reason=f"It would fail again: {_shown(error)}.")
    temporary = _is_temporary(f"{kind.replace('_', ' ')}: {message}", vague=kind in _VAGUE_KINDS)
    if temporary is None:
        return None
    if temporary:
        return FailureClass(retryable=True, reason=f"It may be temporary: {_shown(error)}.")
    return FailureClass(retryable=False, reason=f"It would fail again: {_shown(error)}.")


def _is_temporary(message: str, *, vague: bool) -> bool | None:
    """Whether the message describes a temporary problem; None if it does not say."""
    http = _HTTP_STATUS.search(message)
    if http:
        code = int(http[1])
        return code >= _FIRST_SERVER_STATUS or code in _RETRYABLE_STATUSES
    if _TEMPORARY_FETCH.search(message):
        return True
    if vague or _PERMANENT.search(message):
        return False
    return True if _TEMPORARY.search(message) else None


def _shown(error: JobError) -> str:
    message = error.message.rstrip(". ")
    return f"{error.kind}: {message}" if error.kind and error.kind != message else message


def is_past_end(kind: str | None, message: str | None) -> bool:
    """Say whether a job failed because its `start` lies past the end of the input.

    Args:
        kind: The error's kind.
        message: The error's message.
    """
    text = (message or "").lower()
    # The message of a failed download may name a start and an end, too.
    if _HTTP_STATUS.search(text) or _TEMPORARY_FETCH.search(text) or _TEMPORARY.search(text):
        return False
    return (kind or "").lower() in _VAGUE_KINDS and bool(_PAST_END.search(text))


def classify_refusal(error: IttybitError) -> Refusal:
    """Decide what happens to a submission that failed.

    `STOP` does not say whether an earlier try was accepted; `outcome_unknown` does.
    """
    if isinstance(error, AuthenticationError | PaymentRequired | Redirected):
        return Refusal.STOP
    if error.outcome_unknown:
        return Refusal.UNKNOWN
    if isinstance(error, RateLimited):
        return Refusal.LATER
    return Refusal.FAIL if isinstance(error, InvalidRequest) else Refusal.UNKNOWN
