"""The page of a batch: how far it is, what failed and why, and every lever."""

from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.results import reject_rows
from ittybatch.ledger.states import ChunkState
from ittybatch.page import batch_levers, batch_reports, batch_retry
from ittybatch.page.batch_actions import actions_of
from ittybatch.page.batch_address import batch_context, batch_url, known_batch, number_in
from ittybatch.page.batch_views import (
    chunks_at_work,
    chunks_of,
    failures_of,
    now_of,
    renditions_of,
    whole_batch,
)
from ittybatch.page.shell import Shell
from ittybatch.page.tuning_form import tuning_fields

_PAGE = 50
_REGIONS = ("now", "plan", "renditions", "failures", "chunks", "done")


async def view(request: Request) -> Response:
    """Show a batch, whole."""
    shell = Shell.of(request)
    batch = await known_batch(request)
    found = await shell.read(whole_batch, batch, shell.settings)
    return await shell.render(
        request,
        "batch.html",
        **batch_context(batch),
        **found,
        fields=tuning_fields(found["now"].status.options),
        forms=[form.value for form in batch_reports.FORMS],
    )


async def region(request: Request) -> Response:
    """Show a part of a batch, for the page that shows it already."""
    name = request.path_params["region"]
    if name not in _REGIONS:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such part of the page.")
    shell = Shell.of(request)
    batch = await known_batch(request)
    context = await _context(shell, batch, name)
    return await shell.render(request, f"regions/batch_{name}.html", **context)


async def chunks(request: Request) -> Response:
    """List the chunks of a batch, a page at a time."""
    shell = Shell.of(request)
    batch = await known_batch(request)
    wanted = request.query_params.get("state", "")
    state = ChunkState(wanted) if wanted in set(ChunkState) else None
    after = number_in(request, "after", 0)
    found = await shell.read(chunks_of, batch, after=after, state=state, limit=_PAGE + 1)
    more = None
    if len(found) > _PAGE:
        more = batch_url(
            batch, "chunks", state=state and state.value, after=found[_PAGE - 1].chunk.number
        )
    return await shell.render(
        request,
        "batch_chunks.html",
        **batch_context(batch),
        name=(await shell.read(read_batch, batch)).name,
        chunks=found[:_PAGE],
        state=state,
        states=list(ChunkState),
        first=after == 0,
        more=more,
    )


async def rejects(request: Request) -> Response:
    """List the rejected rows of a batch, a page at a time."""
    shell = Shell.of(request)
    batch = await known_batch(request)
    after = number_in(request, "after", -1)
    found = await shell.read(reject_rows, batch, after, limit=_PAGE + 1)
    more = None
    if len(found) > _PAGE:
        more = batch_url(batch, "rejects", after=found[_PAGE - 1]["number"])
    return await shell.render(
        request,
        "batch_rejects.html",
        **batch_context(batch),
        name=(await shell.read(read_batch, batch)).name,
        rows=found[:_PAGE],
        first=after < 0,
        more=more,
    )


async def _context(shell: Shell, batch: str, region: str) -> dict[str, Any]:
    """What a region shows; `batch` is the batch's id."""
    found: Any
    match region:
        case "now" | "plan":
            found = await shell.read(now_of, batch, shell.settings)
            return {**batch_context(batch), "now": found}
        case "renditions":
            found = await shell.read(renditions_of, batch)
        case "failures":
            found = await shell.read(failures_of, batch, shell.settings)
        case "chunks":
            found = await shell.read(chunks_at_work, batch)
        case _:
            found = await shell.read(actions_of, batch)
    return {**batch_context(batch), region: found}


def routes() -> list[Route]:
    """The routes of these pages, and of the levers and downloads on them."""
    return [
        *batch_levers.routes(),
        *batch_retry.routes(),
        *batch_reports.routes(),
        Route("/batches/{batch}", view),
        Route("/regions/batches/{batch}/{region}", region),
        Route("/batches/{batch}/chunks", chunks),
        Route("/batches/{batch}/rejects", rejects),
    ]
