"""Bodies and signatures of webhooks, in the three shapes of Ittybit's guides."""

import hashlib
import hmac
from dataclasses import replace
from typing import Any, Final

import orjson

from ittybit_sandbox.config import WebhookDialect
from ittybit_sandbox.jobs import Job, JobError
from ittybit_sandbox.vocabulary import ErrorKind, Status

SIGNATURE_HEADER: Final = "Ittybit-Signature"
_MAX_SAFE_INTEGER: Final = 2**53


def event_of(job: Job) -> str:
    """Return the event of a finished job."""
    return "job.succeeded" if job.status is Status.SUCCEEDED else "job.failed"


def webhook_body(job: Job, dialect: WebhookDialect) -> bytes:
    """Build the body; every attempt sends the same bytes.

    The bytes are those that `JSON.stringify(req.body)` writes in JavaScript, because one of the
    guides verifies the signature of that.
    """
    if dialect is WebhookDialect.ENVELOPE:
        body = {"event": event_of(job), "data": _wrapped(job)}
    else:
        body = _flat(job)
        if dialect is WebhookDialect.COMPLETED and job.output is not None:
            body["status"] = Status.COMPLETED
    return orjson.dumps(_as_javascript(body))


def forged_body(job: Job, dialect: WebhookDialect) -> bytes:
    """Build a body with the opposite outcome of the job."""
    if job.output is None:
        forgery = replace(job, status=Status.SUCCEEDED, output={"url": "https://forged.test/"})
    else:
        error = JobError(kind=ErrorKind.INTERNAL_ERROR, message="this webhook is a forgery")
        forgery = replace(job, status=Status.FAILED, output=None, error=error)
    return webhook_body(forgery, dialect)


def sign(body: bytes, secret: bytes) -> str:
    """Return the lowercase hex HMAC-SHA256 of a body."""
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
        # The processing time, as in the guide; not the duration of the media.
        "duration_ms": max(0, (job.finished_at or job.created_at) - job.created_at),
    }


def _as_javascript(value: Any) -> Any:  # noqa: ANN401  JSON
    """Turn `2.0` into `2`, as JavaScript writes it."""
    if isinstance(value, dict):
        return {key: _as_javascript(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_javascript(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _MAX_SAFE_INTEGER:
        return int(value)
    return value
