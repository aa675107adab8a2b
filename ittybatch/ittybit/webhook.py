"""Parses the body of a webhook in any format that Ittybit uses or used.

The formats: a flat job; a job under `data` next to an `event`, `type` or dotted `kind`; an older
task; a file object. pydantic would reject what must only be ignored, and is slow on this hot path.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.job import Job, UnreadableJob, read_job, status_of
from ittybatch.ittybit.json_text import NotJson, read_json
from ittybatch.ittybit.values import identifier

_MAX_ID = 255
_EVENT_NAME = re.compile(r"[a-z_]{1,40}\.[a-z_.]{1,40}")


class MalformedWebhook(IttybatchError):
    """The body of a delivery is not a webhook of Ittybit."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """One delivery: its job, and its `event` if it names one, for example `job.succeeded`."""

    event_id: str | None
    event: str | None
    job: Job


def parse_webhook(body: bytes) -> WebhookEvent:
    """Parse the raw body of a delivery whose signature was verified.

    Raises:
        MalformedWebhook: The body is not JSON, not an object, or contains no job.
    """
    try:
        payload = read_json(body)
    except NotJson as error:
        raise MalformedWebhook(f"The webhook's body is not JSON: {error}.") from None
    if type(payload) is not dict:
        raise MalformedWebhook("The webhook's body is not a JSON object.")
    event = _event_name(payload)
    inner = _wrapped_job(payload, event)
    try:
        job = read_job(payload if inner is None else inner)
    except UnreadableJob as error:
        raise MalformedWebhook(f"The webhook contains no job: {error.message}") from None
    event_id = None if inner is None else identifier(payload.get("id"), _MAX_ID)
    return WebhookEvent(event_id, event, job if event is None else _with_event_status(job, event))


def _event_name(payload: dict[str, Any]) -> str | None:
    """The event's name. `kind` and `type` have other meanings, too; events contain a dot."""
    for key in ("type", "event", "kind"):
        value = payload.get(key)
        if type(value) is str and "." in value and _EVENT_NAME.fullmatch(value):
            return value
    return None


def _wrapped_job(payload: dict[str, Any], event: str | None) -> dict[str, Any] | None:
    inner = payload.get("data")
    if type(inner) is not dict or inner.get("id") is None:
        return None
    wraps = event is not None or payload.get("object") == "event" or "status" not in payload
    return inner if wraps else None


def _with_event_status(job: Job, event: str) -> Job:
    """The job with the status that the event names, which takes precedence over the job's own."""
    status = status_of(event.rpartition(".")[2])
    return replace(job, status=status) if status.terminal and status is not job.status else job
