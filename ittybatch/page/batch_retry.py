"""Retry a batch's failures: a page that repeats how many and what they cost, and the lever."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ittybatch.engine.options import BatchOptions
from ittybatch.engine.retrying import Retry, count_retry, short_price
from ittybatch.ledger import Transaction
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.media import read_id
from ittybatch.ledger.recorded import ledger_time
from ittybatch.page.batch_address import batch_context, batch_url, known_batch
from ittybatch.page.batch_views import ShownGroup, failures_of
from ittybatch.page.forms import Form, read_form
from ittybatch.page.outcomes import Outcome
from ittybatch.page.retrying import start_recorded
from ittybatch.page.shell import Shell
from ittybatch.settings import Settings
from ittybatch.sources import FailedJobsSource


@dataclass(frozen=True, slots=True)
class Asked:
    """What a retry is asked for, as a form or an address says it.

    Args:
        source: The jobs.
        fields: The same as fields of a form, without the time.
        recorded_before: The time: whatever the ledger records later is left out.
    """

    source: FailedJobsSource
    fields: list[tuple[str, str]]
    recorded_before: str


async def confirm(request: Request) -> Response:
    """Ask whether to retry, with the number of jobs and what they may cost."""
    shell = Shell.of(request)
    batch = await known_batch(request)
    query = request.query_params
    form = Form({name: query.getlist(name) for name in query})
    asked = _asked(batch, form, await shell.read(ledger_time))
    found_retry = await shell.read(_count, shell.settings, asked.source)
    found = await shell.read(read_batch, batch)
    shown = await shell.read(failures_of, batch, shell.settings)
    group = _group_of(shown.groups, asked.source)
    return await shell.render(
        request,
        "batch_retry.html",
        **batch_context(batch),
        name=found.name,
        retry=found_retry,
        price=short_price(found_retry.estimate),
        group=group,
        fields=[
            *asked.fields,
            ("before", asked.recorded_before),
            ("expected", str(found_retry.jobs)),
        ],
    )


async def retry(request: Request) -> Response:
    """Start the batch that makes failed jobs again, once for each confirmation."""
    shell = Shell.of(request)
    batch = await known_batch(request)
    form = await read_form(request)
    asked = _asked(batch, form, await shell.read(ledger_time))
    confirmed = read_id(form.text("expected")) or 0
    work = partial(_start, shell, asked, confirmed, request.state.viewer.name)
    return await shell.act(request, "retry", work, back=batch_url(batch), batch=batch, calls=True)


def _start(shell: Shell, asked: Asked, confirmed: int, by: str) -> Outcome:
    source = asked.source
    found = shell.ledger.read(_count, shell.settings, source)
    details: dict[str, Any] = {
        "jobs": found.jobs,
        **source.model_dump(mode="json", exclude_none=True, exclude={"batch", "type"}),
    }
    confirm_at = f"{batch_url(source.batch)}/retry?{urlencode(asked.fields)}"
    return start_recorded(shell, found, by, details, confirmed=confirmed, confirm_at=confirm_at)


def _count(transaction: Transaction, settings: Settings, source: FailedJobsSource) -> Retry:
    options = BatchOptions.model_validate(read_batch(transaction, source.batch).options)
    return count_retry(transaction, settings, source, options)


def _asked(batch: str, form: Form, now: datetime) -> Asked:
    """Read which jobs to retry. Without a time it is now: whatever fails later is left out.

    Args:
        batch: The batch.
        form: The fields.
        now: The time by the ledger's clock.

    Raises:
        HTTPException: The fields were not made by the page.
    """
    states = [state for state in form.texts("state") if state]
    given: dict[str, Any] = {
        "batch": batch,
        "states": states or None,
        "alike": form.text("alike") or None,
        "recorded_before": form.text("before") or now.isoformat(),
        "skip_retried": True,
    }
    try:
        source = FailedJobsSource.model_validate(
            {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise HTTPException(
            HTTPStatus.BAD_REQUEST,
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}. Nothing was started.",
        ) from None
    assert source.recorded_before is not None  # noqa: S101  it is given above
    fields = [("state", state.value) for state in source.states]
    fields += [("alike", source.alike)] if source.alike else []
    return Asked(source, fields, source.recorded_before.isoformat())


def _group_of(found: Sequence[ShownGroup], source: FailedJobsSource) -> ShownGroup | None:
    """The group of failures that a retry is for, if it is for one."""
    states = {state.value for state in source.states}
    groups = [
        each
        for each in found
        if each.group.reason == source.alike and {each.group.state.value} == states
    ]
    return groups[0] if groups else None


def routes() -> list[Route]:
    """The routes of this page."""
    return [
        Route("/batches/{batch}/retry", confirm),
        Route("/batches/{batch}/retry", retry, methods=["POST"]),
    ]
