"""The page of what was just made: its jobs, live until each has its output."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ittybatch.ledger.made_items import MAX_JOBS, watched_items
from ittybatch.page.shell import Shell

_MAX_TEXT = 8_000
_MAX_DIGITS = 18


def made_url(jobs: Iterable[int]) -> str:
    """The address of the page that shows these jobs."""
    return f"/page/new/made?jobs={write_ids(jobs)}"


def write_ids(jobs: Iterable[int]) -> str:
    """Write ids as `3-7,9`."""
    runs: list[list[int]] = []
    for job in sorted(set(jobs)):
        if runs and runs[-1][1] == job - 1:
            runs[-1][1] = job
        else:
            runs.append([job, job])
    return ",".join(f"{first}-{last}" if first < last else f"{first}" for first, last in runs)


def read_ids(text: str) -> list[int]:
    """Read ids that `write_ids` has written; at most as many as the page shows.

    Raises:
        HTTPException: It is something else.
    """
    found: list[int] = []
    for part in text[:_MAX_TEXT].split(","):
        first, dash, last = part.partition("-")
        if not (_is_id(first) and (_is_id(last) or not dash)):
            raise HTTPException(HTTPStatus.NOT_FOUND, "This address names no jobs.")
        found += _some(int(first), int(last or first), MAX_JOBS - len(found))
    return found


def _is_id(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= _MAX_DIGITS


def _some(first: int, last: int, most: int) -> Iterator[int]:
    yield from range(first, min(last, first + most - 1) + 1)


async def view(request: Request) -> Response:
    """Show the jobs; those of one item on the item's own page."""
    shell = Shell.of(request)
    jobs = request.query_params.get("jobs", "")
    items = await shell.read(watched_items, read_ids(jobs))
    if len(items) == 1 and "all" not in request.query_params:
        item = items[0]
        return RedirectResponse(f"/page/items/{item.chunk_id}/{item.number}", HTTPStatus.SEE_OTHER)
    return await shell.render(request, "made.html", items=items, jobs=jobs)


async def region(request: Request) -> Response:
    """Show the jobs alone, for the page that shows them already."""
    shell = Shell.of(request)
    items = await shell.read(watched_items, read_ids(request.query_params.get("jobs", "")))
    return await shell.render(request, "regions/made.html", items=items)


def routes() -> list[Route]:
    """The routes of this page."""
    return [Route("/new/made", view), Route("/regions/made", region)]
