"""What a failure means."""

import pytest

from ittybatch.ittybit.errors import (
    AuthenticationError,
    InvalidRequest,
    IttybitConnectionError,
    IttybitError,
    IttybitTimeout,
    KeyConflict,
    NotFound,
    PaymentRequired,
    RateLimited,
    Redirected,
    ServerError,
    UnreadableAnswer,
)
from ittybatch.ittybit.failures import Refusal, classify_failure, classify_refusal
from ittybatch.ittybit.job import JobError, JobStatus


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("invalid_input", "Unsupported scheme ftp://"),
        ("invalid_input", "anything at all"),
        ("request_invalid", "start is negative"),
        ("url_required", "url_required"),
        ("format_unsupported", "format_unsupported"),
        ("payment_required", "Out of credits"),
        ("input_not_found", "input_not_found"),
        (None, "Unsupported codec prores_raw"),
        (None, "The format is not supported."),
        (None, "Could not decode the input"),
        (None, "cannot decode frame 3"),
        (None, "File is corrupt"),
        (None, "moov atom not found"),
        (None, "Invalid data found when processing input"),
        (None, "Input not found"),
        (None, "The specified key does not exist."),
        (None, "No video stream"),
        (None, "Fetching the input returned 404"),
        (None, "HTTP 403 from the source"),
        (None, "GET failed with status code 410"),
        (None, "Access Denied"),
        (None, "The file is encrypted"),
    ],
)
def test_what_would_fail_again_is_permanent(kind: str | None, message: str) -> None:
    """Another attempt would cost and end the same."""
    failure = classify_failure(JobError(kind, message), JobStatus.FAILED)
    assert not failure.retryable
    assert message.rstrip(".") in failure.reason


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("internal_error", "Something went wrong"),
        ("internal_error", "Invalid state"),
        ("timeout", "timeout"),
        ("invalid_input", "Fetching the input timed out"),
        ("invalid_input", "The source responded with 503"),
        (None, "Timed out"),
        (None, "Worker timeout while decoding"),
        (None, "Temporarily unavailable, try again"),
        (None, "Service Unavailable"),
        (None, "No capacity"),
        (None, "Fetching the input: HTTP 502"),
        (None, "returned 429"),
        (None, "SlowDown: please reduce your request rate"),
        (None, "Connection reset by peer"),
        (None, "read ECONNRESET"),
        (None, "Internal Server Error"),
        (None, "Internal error: invalid state"),
        (None, "Could not resolve host"),
        ("gremlins", "They came at night"),
        (None, "Who knows"),
    ],
)
def test_what_may_pass_is_retryable(kind: str | None, message: str) -> None:
    """So is what nobody has heard of, because attempts are bounded."""
    failure = classify_failure(JobError(kind, message), JobStatus.FAILED)
    assert failure.retryable
    assert message.rstrip(".") in failure.reason


def test_a_figure_in_a_name_is_no_http_status() -> None:
    """Only a number that is called a status is one."""
    assert classify_failure(
        JobError(None, "Lost track of clip 404.mov"), JobStatus.FAILED
    ).retryable


def test_a_failure_without_a_reason_is_retryable() -> None:
    """Nothing says that it would happen again."""
    failure = classify_failure(None, JobStatus.FAILED)
    assert failure.retryable
    assert "no reason" in failure.reason


def test_a_cancelled_job_is_not_sent_again_by_itself() -> None:
    """Somebody cancelled it; sending it again would overrule and bill them."""
    failure = classify_failure(None, JobStatus.CANCELLED)
    assert not failure.retryable
    assert "cancelled" in failure.reason
    assert not classify_failure(JobError(None, "Stopped"), JobStatus.CANCELLED).retryable


def test_a_cancelled_job_whose_error_passes_is_sent_again() -> None:
    """Ittybit cancels what is left of a job whose task broke down."""
    error = JobError("internal_error", "Worker lost")
    assert classify_failure(error, JobStatus.CANCELLED).retryable


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.RUNNING])
def test_what_has_not_failed_is_not_retried(status: JobStatus) -> None:
    """A success with a warning in it is a success."""
    assert not classify_failure(JobError(None, "timeout"), status).retryable


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (InvalidRequest("x", status=400), Refusal.FAIL),
        (NotFound("x", status=404), Refusal.FAIL),
        (AuthenticationError("x", status=401), Refusal.STOP),
        (AuthenticationError("x", status=403), Refusal.STOP),
        (PaymentRequired("x", status=402), Refusal.STOP),
        (Redirected("x", status=308), Refusal.STOP),
        (RateLimited("x", status=429), Refusal.LATER),
        (KeyConflict("x", status=409), Refusal.UNKNOWN),
        (ServerError("x", status=503), Refusal.UNKNOWN),
        (IttybitConnectionError("x"), Refusal.UNKNOWN),
        (IttybitTimeout("x"), Refusal.UNKNOWN),
        (UnreadableAnswer("x"), Refusal.UNKNOWN),
        (IttybitError("x"), Refusal.UNKNOWN),
    ],
)
def test_every_refusal_of_a_submission_has_a_meaning(error: IttybitError, refusal: Refusal) -> None:
    """For the job, and for the batch."""
    assert classify_refusal(error) is refusal


@pytest.mark.parametrize("error", [RateLimited("x"), InvalidRequest("x"), NotFound("x")])
def test_a_refusal_after_a_lost_answer_settles_nothing(error: IttybitError) -> None:
    """The lost answer may have been a job: it is asked for again under the same key."""
    error.earlier_try_unknown = True
    assert error.outcome_unknown
    assert classify_refusal(error) is Refusal.UNKNOWN
