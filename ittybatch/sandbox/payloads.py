"""Webhooks' bodies, in both shapes of Ittybit's guides, and their signature."""

import hashlib
import hmac
from dataclasses import replace
from typing import Any, Final

import orjson

from ittybatch.sandbox.config import WebhookDialect
from ittybatch.sandbox.jobs import Job, JobError
from ittybatch.sandbox.vocabulary import ErrorKind, Status

SIGNATURE_HEADER: Final = "Ittybit-Signature"


def event_of(job: Job) -> str:
    """Name what has happened to a job that ended."""
    return "job.succeeded" if job.status is Status.SUCCEEDED else "job.failed"


def webhook_body(job: Job, dialect: WebhookDialect) -> bytes:
    """Write the body, byte for byte the same at every attempt."""
    if dialect is WebhookDialect.FLAT:
        return orjson.dumps(_flat(job))
    return orjson.dumps({"event": event_of(job), "data": _wrapped(job)})


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
        if "duration" in job.output:
            data["duration_ms"] = round(job.output["duration"] * 1000)
    else:
        data["error"] = job.error
    return data | {
        "metadata": request.metadata,
        "created_at": job.created_at,
        "completed_at": job.finished_at,
    }
