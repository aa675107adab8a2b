"""Webhooks' bodies, in the three shapes of Ittybit's guides, and their signature."""

import hashlib
import hmac
from dataclasses import replace
from typing import Any, Final

import orjson

from ittybit_sandbox.config import WebhookDialect
from ittybit_sandbox.jobs import Job, JobError
from ittybit_sandbox.vocabulary import ErrorKind, Status

SIGNATURE_HEADER: Final = "Ittybit-Signature"
_LARGEST_WHOLE: Final = 2**53


def event_of(job: Job) -> str:
    """Name what has happened to a job that ended."""
    return "job.succeeded" if job.status is Status.SUCCEEDED else "job.failed"


def webhook_body(job: Job, dialect: WebhookDialect) -> bytes:
    """Write the body, byte for byte the same at every attempt.

    The bytes are those that JavaScript writes of the parsed body: one of the guides checks the
    signature of `JSON.stringify(req.body)`.
    """
    if dialect is WebhookDialect.ENVELOPE:
        body = {"event": event_of(job), "data": _wrapped(job)}
    else:
        body = _flat(job)
        if dialect is WebhookDialect.COMPLETED and job.output is not None:
            body["status"] = Status.COMPLETED
    return orjson.dumps(_as_javascript(body))


def forged_body(job: Job, dialect: WebhookDialect) -> bytes:
    """Write the opposite of what has become of a job."""
    if job.output is None:
        lie = replace(job, status=Status.SUCCEEDED, output={"url": "https://forged.test/"})
    else:
        error = JobError(kind=ErrorKind.INTERNAL_ERROR, message="this webhook is a forgery")
        lie = replace(job, status=Status.FAILED, output=None, error=error)
    return webhook_body(lie, dialect)


def sign(body: bytes, secret: bytes) -> str:
    """Sign the very bytes that are sent: lowercase hex of their HMAC-SHA256."""
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


def _flat(job: Job) -> dict[str, Any]:
    request = job.request
    body: dict[str, Any] = {
        "id": job.id,
        "status": job.status,
        "kind": request.kind,
        "input": request.input,
    }
    if job.output is not None:
        body["output"] = {key: value for key, value in job.output.items() if key != "kind"}
    else:
        body["error"] = job.error
    return body | {
        "metadata": request.metadata,
        "created_at": job.created_at,
        "completed_at": job.finished_at,
    }


def _wrapped(job: Job) -> dict[str, Any]:
    request = job.request
    data: dict[str, Any] = {
        "id": job.id,
        "status": Status.COMPLETED if job.output is not None else job.status,
        "kind": request.kind,
        "input": request.input,
    }
    if job.output is not None:
        data["output"] = {"url": job.output["url"]}
    else:
        data["error"] = job.error
    return data | {
        "metadata": request.metadata,
        "created_at": job.created_at,
        "completed_at": job.finished_at,
        # How long the work took, as the guide has it; not how long the media plays.
        "duration_ms": max(0, (job.finished_at or job.created_at) - job.created_at),
    }


def _as_javascript(value: Any) -> Any:  # noqa: ANN401  JSON
    """Write a whole number without a fraction: JavaScript knows `2`, not `2.0`."""
    if isinstance(value, dict):
        return {key: _as_javascript(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_javascript(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_WHOLE:
        return int(value)
    return value
