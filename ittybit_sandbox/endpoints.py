"""Webhook endpoints registered for the whole project."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ittybit_sandbox.errors import ApiError, invalid
from ittybit_sandbox.jobs import new_id, now_ms
from ittybit_sandbox.validation import JsonObject, check_webhook_url
from ittybit_sandbox.vocabulary import ErrorKind

MAX_ENDPOINTS: Final = 100
_TOPIC_FIELDS: Final = ("events", "topics")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to send which events; `topic_field` is the field that named them in the request."""

    id: str
    url: str
    topics: tuple[str, ...]
    topic_field: str
    created_at: int

    def wants(self, event: str) -> bool:
        """Return whether this endpoint receives an event, for example `job.failed`."""
        verb = event.partition(".")[2]
        return not self.topics or any(
            topic in {event, "*", f"task.{verb}", "job.*"} for topic in self.topics
        )

    def shown(self) -> dict[str, Any]:
        """Return the API's representation."""
        return {
            "id": self.id,
            "object": "webhook_endpoint",
            "url": self.url,
            self.topic_field: list(self.topics),
            "status": "active",
            "created_at": self.created_at,
            "updated_at": self.created_at,
        }


class EndpointStore:
    """Every registered endpoint."""

    def __init__(self) -> None:
        self._by_id: dict[str, Endpoint] = {}

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._by_id.values())

    def get(self, endpoint_id: str) -> Endpoint:
        """Find an endpoint.

        Raises:
            ApiError: No endpoint has this id.
        """
        try:
            return self._by_id[endpoint_id]
        except KeyError:
            message = f"no webhook endpoint has the id {endpoint_id}"
            raise ApiError(404, ErrorKind.NOT_FOUND, message) from None

    def parse(self, body: JsonObject) -> Endpoint:
        """Build an endpoint from a request's body, without registering it.

        Raises:
            ApiError: The URL or the events cannot be used, or there are too many endpoints.
        """
        url = check_webhook_url(body.get("url"), "url")
        name = next((field for field in _TOPIC_FIELDS if field in body), "events")
        topics = body.get(name) or []
        if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
            raise invalid(name, "must be a list of event names, for example job.succeeded")
        if len(self._by_id) >= MAX_ENDPOINTS:
            raise invalid("url", f"there are already {MAX_ENDPOINTS} endpoints; delete one first")
        return Endpoint(new_id("we"), url, tuple(topics), name, now_ms())

    def add(self, endpoint: Endpoint) -> None:
        """Register an endpoint."""
        self._by_id[endpoint.id] = endpoint

    def remove(self, endpoint_id: str) -> Endpoint:
        """Delete an endpoint.

        Raises:
            ApiError: No endpoint has this id.
        """
        endpoint = self.get(endpoint_id)
        del self._by_id[endpoint_id]
        return endpoint
