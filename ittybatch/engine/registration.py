"""Register our receiver with Ittybit for all jobs of the project.

ittybatch names `WEBHOOK_URL` in every job that it submits, so its own jobs need no registration.
Jobs that other programs submit without a `webhook_url` reach the receiver only through one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from ittybatch.engine.checking import refuse_webhook_url
from ittybatch.engine.connection import connect
from ittybatch.engine.finding import Finding, Grade
from ittybatch.errors import ConfigurationError, IttybatchError
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.endpoints import EVENTS, WebhookEndpoint
from ittybatch.ittybit.errors import InvalidRequest
from ittybatch.ittybit.redaction import without_secrets
from ittybatch.settings import Settings

_CHECK = "Registration"
_ABSENT = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE}


class RegistrationNotOffered(IttybatchError):
    """This version of Ittybit's API has no route for webhook endpoints."""


class UnknownEndpoint(IttybatchError):
    """No registered endpoint has this id or URL."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered endpoint, and whether it was created now."""

    endpoint: WebhookEndpoint
    created: bool


async def register(
    settings: Settings, url: str | None = None, events: Sequence[str] = EVENTS
) -> Registration:
    """Register a webhook URL, unless it is registered for these events already.

    Args:
        settings: Ittybit's address and key.
        url: The address that Ittybit calls; `WEBHOOK_URL` by default.
        events: The events it calls it for.

    Raises:
        ConfigurationError: There is no URL, or Ittybit would refuse it or could not reach it.
        RegistrationNotOffered: The API has no such route.
        IttybatchError: The URL is registered, but inactive or for fewer events; or Ittybit did
            not answer.
    """
    url = url or settings.webhook_url
    if url is None:
        raise ConfigurationError(
            "There is no address to register.",
            remedy="Set WEBHOOK_URL, or run `ittybatch webhook register URL`.",
        )
    refusal = refuse_webhook_url(settings, url)
    if refusal is not None:
        raise ConfigurationError(refusal.what, remedy=refusal.remedy)
    async with connect(settings) as client:
        known = [each for each in await _known(settings, client) if each.is_at(url)]
        if not known:
            with _offered(settings):
                return Registration(await client.create_webhook(url, events), created=True)
    usable = [each for each in known if each.active and not each.lacks(events)]
    if usable:
        return Registration(usable[0], created=False)
    remedy = f"Run `ittybatch webhook remove {known[0].id}`, then register it again."
    raise IttybatchError(
        f"{without_secrets(url)} is registered as {known[0].id}, but {_flaw(known[0], events)}.",
        remedy=remedy,
    )


async def registered(settings: Settings) -> list[WebhookEndpoint]:
    """List the endpoints of the project.

    Raises:
        RegistrationNotOffered: The API has no such route.
        IttybatchError: Ittybit did not answer.
    """
    async with connect(settings) as client:
        return await _known(settings, client)


async def remove(settings: Settings, which: str) -> list[WebhookEndpoint]:
    """Remove an endpoint.

    Args:
        settings: Ittybit's address and key.
        which: Its id, or its URL.

    Returns:
        What was removed: several endpoints if more than one has the URL.

    Raises:
        UnknownEndpoint: No endpoint has this id or URL.
        RegistrationNotOffered: The API has no such route.
        IttybatchError: Ittybit did not answer.
    """
    async with connect(settings) as client:
        known = await _known(settings, client)
        found = [each for each in known if each.id == which or each.is_at(which)]
        for each in found:
            await client.delete_webhook(each.id)
    if not found:
        raise UnknownEndpoint(
            f"No registered endpoint has the id or URL {without_secrets(which)}.",
            remedy="Run `ittybatch webhook list` to see them.",
        )
    return found


async def check_registration(settings: Settings) -> list[Finding]:
    """Say whether our address is among the project's endpoints; nothing if the API is silent.

    It is never an error: our own jobs name their webhook URL.
    """
    url = settings.webhook_url
    if url is None:
        return []
    try:
        known = [each for each in await registered(settings) if each.is_at(url)]
    except RegistrationNotOffered:
        what = "Ittybit's API lists no webhook endpoints; every job names WEBHOOK_URL itself."
        return [Finding(_CHECK, Grade.OK, what)]
    except IttybatchError:
        # The check of the API key reports it.
        return []
    if not known:
        what = "not registered: only jobs that ittybatch submits report to WEBHOOK_URL."
        remedy = "For jobs of other programs, too: `ittybatch webhook register`."
        return [Finding(_CHECK, Grade.OK, what, remedy)]
    flawed = [each for each in known if not each.active or each.lacks(EVENTS)]
    if len(flawed) == len(known):
        what = f"WEBHOOK_URL is registered as {known[0].id}, but {_flaw(known[0], EVENTS)}."
        remedy = f"Run `ittybatch webhook remove {known[0].id}`, then `ittybatch webhook register`."
        return [Finding(_CHECK, Grade.WARNING, what, remedy)]
    return [Finding(_CHECK, Grade.OK, f"WEBHOOK_URL is registered as {known[0].id}.")]


def _flaw(endpoint: WebhookEndpoint, events: Sequence[str]) -> str:
    if not endpoint.active:
        return "it is not active"
    return f"it does not receive {', '.join(endpoint.lacks(events))}"


async def _known(settings: Settings, client: IttybitClient) -> list[WebhookEndpoint]:
    with _offered(settings):
        return await client.list_webhooks()


@contextmanager
def _offered(settings: Settings) -> Iterator[None]:
    try:
        yield
    except InvalidRequest as error:
        if error.status not in _ABSENT:
            raise
        raise RegistrationNotOffered(
            f"{settings.api_url} has no /webhooks route.",
            remedy="Nothing is lost: every job that ittybatch submits names WEBHOOK_URL. For jobs "
            "of other programs, enter the address in Ittybit's dashboard.",
        ) from None
