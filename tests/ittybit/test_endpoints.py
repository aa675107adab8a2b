"""Webhook endpoints of a project: created, listed and deleted, in every form of the API."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.endpoints import EVENTS, WebhookEndpoint, read_endpoint
from ittybatch.ittybit.errors import InvalidRequest, UnreadableAnswer
from tests.ittybit.api import DROP, Api, api, reply

Result = TypeVar("Result")
URL = "https://app.test/webhooks/ittybit"
ENDPOINT: dict[str, Any] = {"id": "we_1", "url": URL, "events": list(EVENTS), "status": "active"}


def call(
    request: Callable[[IttybitClient], Awaitable[Result]], *replies: bytes
) -> tuple[Result, Api]:
    """Make one call of the client to an API that gives these replies."""

    async def main() -> tuple[Result, Api]:
        async with api(*replies) as answering, answering.client() as ittybit:
            return await request(ittybit), answering

    return asyncio.run(main())


def test_an_endpoint_is_created_with_its_events() -> None:
    """A lost answer is repeated under the same key, so there is one endpoint."""
    created, answering = call(lambda it: it.create_webhook(URL), DROP, reply(201, ENDPOINT))
    assert created == WebhookEndpoint("we_1", URL, EVENTS, active=True)
    assert {each.method for each in answering.seen} == {"POST"}
    assert {each.target for each in answering.seen} == {"/webhooks"}
    assert answering.seen[-1].json == {"url": URL, "events": list(EVENTS)}
    assert len({each.headers["idempotency-key"] for each in answering.seen}) == 1


def test_each_registration_has_a_key_of_its_own() -> None:
    """Or an endpoint that was removed could not come back for 24 hours."""

    async def twice(ittybit: IttybitClient) -> None:
        await ittybit.create_webhook(URL)
        await ittybit.create_webhook(URL)

    _, answering = call(twice, reply(201, ENDPOINT))
    assert len({each.headers["idempotency-key"] for each in answering.seen}) == 2


@pytest.mark.parametrize("key", [None, "data", "webhooks", "endpoints", "items"])
def test_a_list_may_be_bare_or_wrapped(key: str | None) -> None:
    """Ittybit does not document it. What is no endpoint is left out."""
    items = [ENDPOINT, {"id": "we_2"}, "?"]
    found, _ = call(lambda it: it.list_webhooks(), reply(200, {key: items} if key else items))
    assert [each.id for each in found] == ["we_1"]


def test_a_long_list_is_followed_by_cursor() -> None:
    """As far as the server says that there is more."""
    first = reply(200, [ENDPOINT], {"Has-More": "true"})
    second = reply(200, [ENDPOINT | {"id": "we_2"}], {"Has-More": "false"})
    found, answering = call(lambda it: it.list_webhooks(), first, second)
    assert [each.id for each in found] == ["we_1", "we_2"]
    assert answering.seen[-1].query["after"] == "we_1"


def test_a_server_that_ignores_cursors_is_not_asked_for_ever() -> None:
    """The same page again ends the list."""
    found, answering = call(
        lambda it: it.list_webhooks(), reply(200, [ENDPOINT], {"Has-More": "true"})
    )
    assert len(found) == 1
    assert len(answering.seen) == 2


@pytest.mark.parametrize("body", [{}, "text", [1, 2], {"data": {"id": "we_1"}}])
def test_an_answer_without_endpoints_is_unreadable(body: object) -> None:
    """It may be a proxy's page; it does not mean that there are none."""
    with pytest.raises(UnreadableAnswer, match="webhook endpoints"):
        call(lambda it: it.list_webhooks(), reply(200, body))


def test_a_deletion_whose_answer_was_lost_has_happened() -> None:
    """The second try finds nothing to delete."""
    _, answering = call(lambda it: it.delete_webhook("we/1"), DROP, reply(404, {}))
    assert [(each.method, each.target) for each in answering.seen] == [
        ("DELETE", "/webhooks/we%2F1")
    ] * 2


@pytest.mark.parametrize("endpoint_id", ["", "..", "x" * 256])
def test_an_id_that_can_be_no_id_is_not_deleted(endpoint_id: str) -> None:
    """`..` would be another address."""
    with pytest.raises(InvalidRequest, match="1 to 255"):
        call(lambda it: it.delete_webhook(endpoint_id), reply(200, {}))


@pytest.mark.parametrize(
    ("payload", "events", "active"),
    [
        (ENDPOINT, EVENTS, True),
        ({"data": ENDPOINT}, EVENTS, True),
        ({"id": 7, "url": URL, "topics": ["task.succeeded"]}, ("task.succeeded",), True),
        (ENDPOINT | {"status": "paused", "events": None}, (), False),
    ],
)
def test_every_form_of_an_endpoint_is_read(
    payload: dict[str, Any], events: tuple[str, ...], active: bool
) -> None:
    """Earlier versions say `topics`, and wrap."""
    found = read_endpoint(payload)
    assert (found.events, found.active) == (events, active)


@pytest.mark.parametrize(
    ("events", "lacking"),
    [
        ((), []),
        (("*",), []),
        (("job.*",), []),
        (("task.succeeded", "task.failed"), []),
        (("job.failed",), ["job.succeeded"]),
        (("media.created",), list(EVENTS)),
    ],
)
def test_an_endpoint_lacks_the_events_it_was_not_registered_for(
    events: tuple[str, ...], lacking: list[str]
) -> None:
    """No events means all of them; wildcards and the older noun count."""
    assert WebhookEndpoint("we_1", URL, events, active=True).lacks(EVENTS) == lacking


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://APP.test:443/webhooks/ittybit", True),
        ("https://app.test/webhooks/ittybit?key=1", False),
        ("https://app.test/webhooks/Ittybit", False),
        ("https://[", False),
    ],
)
def test_an_address_is_the_same_however_its_host_is_written(url: str, same: bool) -> None:
    """Paths and queries count to the letter."""
    assert WebhookEndpoint("we_1", URL, (), active=True).is_at(url) is same
