"""Reads a webhook's body, whichever of Ittybit's shapes it comes in.

A flat job, a job under `data` beside an `event`, `type` or dotted `kind`, an older task, or a
file object. On the receiver's hot path, so: no validation library here.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.job import Job, UnreadableJob, read_job, status_of
from ittybatch.ittybit.json_text import NotJson, read_json
from ittybatch.ittybit.values import identifier

_LONGEST_ID = 255
_EVENT_NAME = re.compile(r"[a-z_]{1,40}\.[a-z_.]{1,40}")


class MalformedWebhook(IttybatchError):
    """A delivery whose body cannot be read as a webhook of Ittybit."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """One delivery: `event` such as `job.succeeded` where it was named, and the job it tells."""

    event_id: str | None
    event: str | None
    job: Job


def parse_webhook(body: bytes) -> WebhookEvent:
    """Read the raw body of a delivery whose signature has been verified.

    Raises:
        MalformedWebhook: The body is not JSON, not an object, or names no job.
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
        raise MalformedWebhook(f"The webhook tells of no job: {error.message}") from None
    event_id = None if inner is None else identifier(payload.get("id"), _LONGEST_ID)
    return WebhookEvent(event_id, event, job if event is None else _as_told(job, event))


def _event_name(payload: dict[str, Any]) -> str | None:
    """`kind` names an event or a medium, and `type` an event or a MIME type: the dot tells."""
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


def _as_told(job: Job, event: str) -> Job:
    """An event's name is what Ittybit set out to tell, so it outranks the job's own word."""
    told = status_of(event.rpartition(".")[2])
    return replace(job, status=told) if told.terminal and told is not job.status else job
