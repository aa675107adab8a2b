"""Webhook endpoints that are registered for a whole Ittybit project.

A job can name its own `webhook_url`. A registered endpoint also receives the events of jobs that
name none.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.values import identifier, record

EVENTS: Final = ("job.succeeded", "job.failed")
"""The events that end a job."""

_MAX_ID = 255
_MAX_URL = 8192
_MAX_WORD = 64
_LIST_KEYS = ("data", "webhooks", "endpoints", "items")
# Earlier versions of the API say `topics`, and `task` for a job.
_EVENT_KEYS = ("events", "topics")
_ACTIVE = {"active", "enabled"}


class UnreadableEndpoint(IttybatchError):
    """The payload contains no webhook endpoint."""


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """A registered endpoint; without events, it receives all of them."""

    id: str
    url: str
    events: tuple[str, ...]
    active: bool

    def is_at(self, url: str) -> bool:
        """Whether Ittybit calls this URL; the case of the host and a default port do not count."""
        return _normal(self.url) == _normal(url)

    def lacks(self, events: Collection[str]) -> list[str]:
        """Return the events of these that it does not receive."""
        return [event for event in events if not self._receives(event)]

    def _receives(self, event: str) -> bool:
        noun, _, verb = event.partition(".")
        names = {event, "*", f"{noun}.*"}
        if noun == "job":
            names |= {f"task.{verb}", "task.*"}
        return not self.events or not names.isdisjoint(self.events)


def read_endpoint(payload: object) -> WebhookEndpoint:
    """Read one endpoint, itself or wrapped in `data`.

    Raises:
        UnreadableEndpoint: The payload has no usable `id` or `url`.
    """
    raw = record(payload) or {}
    raw = raw if raw.get("id") is not None else record(raw.get("data")) or {}
    endpoint_id, url = identifier(raw.get("id"), _MAX_ID), identifier(raw.get("url"), _MAX_URL)
    if endpoint_id is None or url is None:
        raise UnreadableEndpoint("The payload contains no webhook endpoint with an id and a URL.")
    status = raw.get("status")
    return WebhookEndpoint(
        endpoint_id,
        url,
        tuple(_events(raw)),
        active=not isinstance(status, str) or status.strip().lower() in _ACTIVE,
    )


def read_endpoints(payload: object) -> list[WebhookEndpoint]:
    """Read a list of endpoints, bare or wrapped; items that are no endpoints are left out.

    Raises:
        UnreadableEndpoint: The payload contains no list, or only other things.
    """
    wrapper = record(payload) or {}
    candidates = [payload, *(wrapper.get(key) for key in _LIST_KEYS)]
    items = next((value for value in candidates if isinstance(value, list)), None)
    found = list(_readable(items or ()))
    if items is None or (items and not found):
        raise UnreadableEndpoint("The payload contains no list of webhook endpoints.")
    return found


def _readable(items: Iterable[object]) -> Iterator[WebhookEndpoint]:
    for item in items:
        with suppress(UnreadableEndpoint):
            yield read_endpoint(item)


def _events(raw: Mapping[str, Any]) -> Iterator[str]:
    for key in _EVENT_KEYS:
        names = raw.get(key)
        if isinstance(names, list):
            yield from (name for each in names if (name := identifier(each, _MAX_WORD)))
            return


def _normal(url: str) -> httpx.URL | str:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL:
        return url
