"""The page of an item: its source, its outputs, and the story of each job."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ittybatch.engine.advice import advise_job
from ittybatch.engine.amounts import format_change
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.reports.page import item_name
from ittybatch.engine.retrying import count_retry, price_of, short_price
from ittybatch.errors import IttybatchError
from ittybatch.ittybit.options import Kind
from ittybatch.ittybit.redaction import redacted_json
from ittybatch.ledger.actions import DoneAction
from ittybatch.ledger.history import ItemHistory, JobHistory, SameJob
from ittybatch.ledger.media import read_id
from ittybatch.ledger.results import options_of
from ittybatch.ledger.states import JobState
from ittybatch.ledger.timeline import item_history
from ittybatch.page.forms import read_form
from ittybatch.page.media import Element, Medium, medium_of
from ittybatch.page.media_routes import MediaRoutes
from ittybatch.page.outcomes import Outcome
from ittybatch.page.retrying import start_recorded, waiting_retries
from ittybatch.page.shell import Shell
from ittybatch.page.story import Chapter, story_of
from ittybatch.settings import Settings
from ittybatch.sources import FailedJobsSource

_UNSUCCESSFUL = frozenset({JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED})
# Kinds whose output replaces the source, so that their sizes can be compared.
_SAME_MEDIUM = {Kind.VIDEO.value: Element.VIDEO, Kind.AUDIO.value: Element.AUDIO}
# Until then, only the retry that was asked for is shown, and no button for another.
_BEGINS_WITHIN = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class RenditionView:
    """One job of the item, as the page shows it.

    Args:
        job: The job.
        medium: Its output; None if it has none.
        medium_key: Changes when the output does.
        options: What was asked of Ittybit, as names and texts.
        metadata: The user's pairs, likewise.
        followers: Those of other requests for the same job.
        chapters: What happened to it.
        change: How much smaller than the source it is, in words; empty if it says nothing.
        advice: What to do about its failure; None if it has not failed.
        price: What another attempt would cost, in words.
        again: The newest job that made it again, in another batch.
        earlier: Earlier tries of it in other batches.
        asked: A retry that was asked for and has no batch yet.
    """

    job: JobHistory
    medium: Medium | None
    medium_key: str
    options: Sequence[tuple[str, str]]
    metadata: Sequence[tuple[str, str]]
    followers: Sequence[Sequence[tuple[str, str]]]
    chapters: Sequence[Chapter]
    change: str
    advice: str | None
    price: str
    again: SameJob | None
    earlier: Sequence[SameJob]
    asked: DoneAction | None

    @property
    def may_retry(self) -> bool:
        """Whether a retry makes it again: it failed, and no later batch has taken it up.

        A retry may have been asked for, and its flow run have ended without a batch.
        """
        if self.job.state not in _UNSUCCESSFUL or self.again is not None:
            return False
        return self.asked is None or datetime.now(UTC) - self.asked.at > _BEGINS_WITHIN


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item, as the page shows it."""

    item: ItemHistory
    name: str
    source: Medium
    source_job: int | None
    poster: str | None
    renditions: Sequence[RenditionView]

    @property
    def connect(self) -> str:
        """Where scripts may fetch from: anywhere, if hls.js has to fetch segments."""
        media = [self.source, *(each.medium for each in self.renditions)]
        hls = any(each is not None and each.element is Element.HLS for each in media)
        return "https: http:" if hls else ""


async def view(request: Request) -> Response:
    """Show an item."""
    return await _show(request, "item.html")


async def region(request: Request) -> Response:
    """Show what may change of it, for the page that shows it already."""
    return await _show(request, "regions/item.html")


async def retry(request: Request) -> Response:
    """Make a job again that did not succeed, in a batch of its own."""
    shell = Shell.of(request)
    item = await _item(request)
    form = await read_form(request)
    wanted = _job_of(item, form.text("job"))
    by = request.state.viewer.name
    return await shell.act(
        request,
        "retry",
        partial(_retry, shell, item, wanted, form.text("before"), by),
        back=_address(item, wanted),
        batch=item.batch_id,
        calls=True,
    )


async def _show(request: Request, template: str) -> Response:
    shell = Shell.of(request)
    item = await _item(request)
    options = await shell.read(options_of, item.batch_id)
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    asked: Mapping[int, DoneAction] = {}
    if any(job.state in _UNSUCCESSFUL for job in item.jobs):
        asked = await shell.read(waiting_retries, item.batch_id)
    shown = view_of(item, options, shell.settings, asked, secure=scheme == "https")
    return await shell.render(
        request,
        template,
        shown=shown,
        item=item,
        now=datetime.now(UTC).isoformat(),
        connect=shown.connect,
    )


async def _item(request: Request) -> ItemHistory:
    chunk, number = (read_id(request.path_params[name]) for name in ("chunk", "number"))
    found = None
    if chunk is not None and number is not None and number < _MAX_NUMBER:
        found = await Shell.of(request).read(item_history, chunk, number)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such item.")
    return found


# Numbers of items are 32-bit integers.
_MAX_NUMBER = 2**31


def view_of(
    item: ItemHistory,
    options: Mapping[str, Any],
    settings: Settings,
    asked: Mapping[int, DoneAction],
    *,
    secure: bool,
) -> ItemView:
    """Put together what the page shows of an item.

    Args:
        item: The item.
        options: The options of its batch.
        settings: Prices.
        asked: Retries that have no batch yet, by job.
        secure: Whether the page is served over HTTPS.
    """
    # The route of the source needs a job of the item, any of them.
    first = item.jobs[0].id if item.jobs else None
    source = medium_of(
        item.uri,
        f"/page/media/{first}/source",
        size_bytes=item.size_bytes,
        secure=secure,
    )
    by = (options, settings, secure)
    renditions = [_rendition(item, each, source, by, asked.get(each.id)) for each in item.jobs]
    posters = (
        each.medium.src
        for each in renditions
        if each.job.kind == Kind.IMAGE and each.medium is not None and each.medium.shown
    )
    return ItemView(item, item_name(item.uri), source, first, next(posters, None), renditions)


def _rendition(
    item: ItemHistory,
    job: JobHistory,
    source: Medium,
    by: tuple[Mapping[str, Any], Settings, bool],
    asked: DoneAction | None,
) -> RenditionView:
    options, settings, secure = by
    medium = None
    if job.output_url and job.state is JobState.SUCCEEDED:
        medium = medium_of(
            job.output_url,
            f"/page/media/{job.id}/output",
            kind=job.kind,
            size_bytes=job.output_size_bytes,
            secure=secure,
        )
    ended_badly = job.state in _UNSUCCESSFUL
    reason = {
        "state": job.state.value,
        "error_kind": job.error_kind,
        "error_message": job.error_message,
    }
    later = [each for each in job.elsewhere if each.id > job.id]
    return RenditionView(
        job=job,
        medium=medium,
        medium_key=f"{job.completed_at:%Y%m%d%H%M%S}" if job.completed_at else "none",
        options=_pairs(job.options),
        metadata=_pairs(job.metadata),
        followers=[_pairs(each) for each in job.followers],
        chapters=story_of(item, job),
        change=_change(item, job, source),
        advice=advise_job(reason) if ended_badly else None,
        price=_price(job, options, settings) if ended_badly else "",
        again=later[-1] if later else None,
        earlier=[each for each in job.elsewhere if each.id < job.id],
        asked=asked,
    )


def _price(job: JobHistory, options: Mapping[str, Any], settings: Settings) -> str:
    rates = BatchOptions.model_validate(options)
    return short_price(price_of(Counter({job.kind: 1}), rates, settings))


def _change(item: ItemHistory, job: JobHistory, source: Medium) -> str:
    same = _SAME_MEDIUM.get(job.kind)
    if same is None or source.element is not same or not item.size_bytes:
        return ""
    return format_change(item.size_bytes, job.output_size_bytes) if job.output_size_bytes else ""


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as texts, in their order, without secrets."""
    return [
        (name, value if isinstance(value, str) else orjson.dumps(value).decode())
        for name, value in redacted_json(dict(values)).items()
    ]


def _job_of(item: ItemHistory, text: str) -> JobHistory:
    wanted = read_id(text)
    for each in item.jobs:
        if each.id == wanted:
            return each
    raise HTTPException(HTTPStatus.NOT_FOUND, "This item has no such job.")


def _address(item: ItemHistory, job: JobHistory) -> str:
    return f"/page/items/{item.chunk_id}/{item.number}#job-{job.id}"


def _retry(shell: Shell, item: ItemHistory, job: JobHistory, before: str, by: str) -> Outcome:
    """Start the batch that makes a job again, once for each time that the form was shown."""
    if job.state not in _UNSUCCESSFUL:
        text = f"{job.rendition} has not failed: it is {job.state.value}. Nothing was started."
        return Outcome(text, refused=True)
    try:
        source = FailedJobsSource.model_validate(
            {
                "batch": item.batch_id,
                "states": [job.state.value],
                "jobs": [job.id],
                "skip_retried": True,
                "ended_before": before or datetime.now(UTC).isoformat(),
            }
        )
    except ValidationError:
        raise IttybatchError(
            "The form has a time that cannot be read, so nothing was started.",
            remedy="Load the page again, and press the button once more.",
        ) from None
    options = BatchOptions.model_validate(shell.ledger.read(options_of, item.batch_id))
    found = shell.ledger.read(count_retry, shell.settings, source, options)
    details = {"job": job.id, "rendition": job.rendition, "input": item.uri}
    return start_recorded(shell, found, by, details)


def routes() -> list[Route]:
    """The routes of this page."""
    return [
        Route("/items/{chunk}/{number}", view),
        Route("/regions/items/{chunk}/{number}", region),
        Route("/items/{chunk}/{number}/retry", retry, methods=["POST"]),
        *MediaRoutes().routes(),
    ]
