"""The page of an item: its source, its outputs, and the story of each job."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ittybatch.engine.advice import Outlook, advise_job, outlook
from ittybatch.engine.amounts import format_change
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.reports.page import item_name
from ittybatch.engine.retrying import price_of, short_price
from ittybatch.ittybit.options import Kind
from ittybatch.ittybit.redaction import redacted_json
from ittybatch.ledger.actions import DoneAction
from ittybatch.ledger.history import ItemHistory, JobHistory, SameJob
from ittybatch.ledger.media import read_id
from ittybatch.ledger.results import options_of
from ittybatch.ledger.states import JobState
from ittybatch.ledger.timeline import item_history
from ittybatch.page.media import Element, Medium, medium_of
from ittybatch.page.media_routes import MediaRoutes
from ittybatch.page.retrying import waiting_retries
from ittybatch.page.shell import Shell
from ittybatch.page.story import Chapter, story_of
from ittybatch.profiles import Item
from ittybatch.settings import Settings

UNSUCCESSFUL = frozenset({JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED})
# Kinds whose output replaces the source, so that their sizes can be compared.
_SAME_MEDIUM = {Kind.VIDEO.value: Element.VIDEO, Kind.AUDIO.value: Element.AUDIO}


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
        would_fail: Whether another attempt would fail again, as far as is known.
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
    would_fail: bool
    price: str
    again: SameJob | None
    earlier: Sequence[SameJob]
    asked: DoneAction | None

    @property
    def may_retry(self) -> bool:
        """Whether a retry makes it again: it failed, and no later batch has it or will plan it."""
        return self.job.state in UNSUCCESSFUL and self.again is None and self.asked is None


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item, as the page shows it.

    Args:
        item: The item.
        name: Its name: the key or path of the source; of an upload, the name of the file.
        key: The key of an upload; None for other items, whose name it is.
        source: The source.
        source_job: A job of the item, for the address of the source.
        poster: Address of a picture of it.
        renditions: Its jobs.
    """

    item: ItemHistory
    name: str
    key: str | None
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


async def _show(request: Request, template: str) -> Response:
    shell = Shell.of(request)
    item = await item_of(request)
    options = await shell.read(options_of, item.batch_id)
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    asked: Mapping[int, DoneAction] = {}
    if any(job.state in UNSUCCESSFUL for job in item.jobs):
        asked = await shell.read(waiting_retries, item.batch_id)
    shown = view_of(item, options, shell.settings, asked, secure=scheme == "https")
    return await shell.render(
        request,
        template,
        shown=shown,
        item=item,
        connect=shown.connect,
    )


async def item_of(request: Request) -> ItemHistory:
    """The item that an address names.

    Raises:
        HTTPException: There is no such item.
    """
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
    uploaded_as = Item(item.uri).uploaded_as
    name = uploaded_as or item_name(item.uri)
    key = item_name(item.uri) if uploaded_as else None
    return ItemView(item, name, key, source, first, next(posters, None), renditions)


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
    ended_badly = job.state in UNSUCCESSFUL
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
        advice=advise_job(reason_of(job)) if ended_badly else None,
        would_fail=ended_badly and outlook(reason_of(job)) is Outlook.WOULD_FAIL_AGAIN,
        price=_price(job, options, settings) if ended_badly else "",
        again=later[-1] if later else None,
        earlier=[each for each in job.elsewhere if each.id < job.id],
        asked=asked,
    )


def reason_of(job: JobHistory) -> Mapping[str, Any]:
    """Why a job did not succeed, as advice needs it."""
    return {
        "state": job.state.value,
        "error_kind": job.error_kind,
        "error_message": job.error_message,
    }


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


def routes() -> list[Route]:
    """The routes of this page."""
    return [
        Route("/items/{chunk}/{number}", view),
        Route("/regions/items/{chunk}/{number}", region),
        *MediaRoutes().routes(),
    ]
