"""Commands about the webhook endpoints of the whole Ittybit project."""

import asyncio
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter

from ittybatch.cli.output import Column, Json, Wide, console, errors, print_json, print_table
from ittybatch.cli.recording import recorded_if_possible
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.checking import check_webhook_url
from ittybatch.engine.finding import Grade
from ittybatch.engine.registration import Registration, registered
from ittybatch.engine.registration import register as register_endpoint
from ittybatch.engine.registration import remove as remove_endpoint
from ittybatch.ittybit.endpoints import EVENTS, WebhookEndpoint
from ittybatch.ittybit.redaction import without_secrets
from ittybatch.settings import Settings

app = App(name="webhook", help="Webhook endpoints of the whole Ittybit project.")


@app.command
def register(
    url: Annotated[
        str | None, Parameter(help="The https address that Ittybit calls. WEBHOOK_URL by default.")
    ] = None,
    *,
    event: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            help="Event to receive; by default job.succeeded and job.failed. May be repeated.",
        ),
    ] = EVENTS,
    json: Json = False,
) -> int:
    """Register a webhook URL for all jobs of the project. Safe to repeat.

    Jobs that ittybatch submits name WEBHOOK_URL themselves, so they need no registration.
    """
    settings = Settings()
    with recorded_if_possible(settings, "webhook register", details={"url": url}) as record:
        done = asyncio.run(register_endpoint(settings, url, event))
        record.outcome = _told(done)
    reached = check_webhook_url(settings, done.endpoint.url)
    if json:
        print_json({"created": done.created, "endpoint": _shown(done.endpoint)})
    else:
        console.print(_told(done), markup=False)
    # The receiver may start later, so this is no failure.
    if reached.grade is not Grade.OK:
        errors.print(f"{reached.what} {reached.remedy}", markup=False)
    return SUCCEEDED


@app.command(name="list")
def list_endpoints(*, wide: Wide = False, json: Json = False) -> int:
    """List the project's registered endpoints, and mark the one at WEBHOOK_URL."""
    settings = Settings()
    endpoints = asyncio.run(registered(settings))
    if json:
        print_json([_shown(each) for each in endpoints])
        return SUCCEEDED
    ours = settings.webhook_url
    print_table(
        "Webhook endpoints",
        ("Id", Column("URL", cut=True), "Events", "State", "WEBHOOK_URL"),
        [
            (
                each.id,
                without_secrets(each.url),
                ", ".join(each.events) or "all",
                "active" if each.active else "inactive",
                "yes" if ours and each.is_at(ours) else "",
            )
            for each in endpoints
        ],
        wide=wide,
    )
    return SUCCEEDED


@app.command
def remove(
    endpoint: Annotated[str, Parameter(help="Id or URL of a registered endpoint.")],
    *,
    json: Json = False,
) -> int:
    """Remove a registered endpoint. Jobs that name their own webhook_url are not affected."""
    settings = Settings()
    with recorded_if_possible(settings, "webhook remove", details={"endpoint": endpoint}) as record:
        removed = asyncio.run(remove_endpoint(settings, endpoint))
        record.outcome = f"Removed {', '.join(each.id for each in removed)}."
    if json:
        print_json([_shown(each) for each in removed])
    else:
        for each in removed:
            console.print(f"Removed {each.id}: {without_secrets(each.url)}", markup=False)
    return SUCCEEDED


def _told(done: Registration) -> str:
    endpoint = done.endpoint
    begins = "Registered" if done.created else "Already registered"
    events = f"for {', '.join(endpoint.events)}" if endpoint.events else "for all events"
    return (
        f"{begins} as {endpoint.id}. Ittybit calls POST {without_secrets(endpoint.url)} {events}."
    )


def _shown(endpoint: WebhookEndpoint) -> dict[str, object]:
    return asdict(endpoint) | {"url": without_secrets(endpoint.url)}
