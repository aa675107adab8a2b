"""The page that finds jobs: filters in the address, pages in both directions."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ittybatch.ittybit.options import Kind
from ittybatch.ledger.queries import AmbiguousBatch, find_batch
from ittybatch.ledger.search import JobPage, JobSearch, search_jobs
from ittybatch.ledger.states import JobState
from ittybatch.ledger.timeline import item_of_job
from ittybatch.page.shell import Shell

_PATH = "/page/jobs"
_SHOWN = 50
# An address may be as long as this, with its signature.
_MAX_CHARS = 4000
_MAX_DIGITS = 18
_FILTERS = ("batch", "state", "rendition", "kind", "q", "metadata")


async def view(request: Request) -> Response:
    """Show the form and the jobs that fit."""
    return await _show(request, "jobs.html")


async def region(request: Request) -> Response:
    """Show the jobs alone, for the page that shows them already."""
    return await _show(request, "regions/jobs.html")


async def lead(request: Request) -> Response:
    """Lead from a job to its item, which shows the job among its others."""
    number = request.path_params["job"]
    place = await Shell.of(request).read(item_of_job, int(number)) if _is_id(number) else None
    if place is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no job {number[:50]}.")
    chunk, item = place
    return RedirectResponse(f"/page/items/{chunk}/{item}#job-{number}", HTTPStatus.SEE_OTHER)


async def _show(request: Request, template: str) -> Response:
    shell = Shell.of(request)
    query = request.query_params
    problem = ""
    found = JobPage([], exact=False, looked_at=0, after=None, before=None)
    try:
        wanted = await _wanted(shell, query)
        found = await shell.read(
            search_jobs,
            wanted,
            after=query.get("after") or None,
            before=query.get("before") or None,
            limit=_SHOWN,
        )
    except AmbiguousBatch as error:
        problem = error.message
    except ValueError:
        problem = "This address names no part of the list. Search again."
    kept = [(name, query[name]) for name in ("after", "before") if query.get(name)]
    asked = urlencode([*_given(query), *kept])
    return await shell.render(
        request,
        template,
        found=found,
        problem=problem,
        query=query,
        chosen=query.getlist("state"),
        states=list(JobState),
        kinds=list(Kind),
        filtered=bool(_given(query)),
        # A search that reads through thousands of jobs is not repeated each second.
        region="" if query.get("q") or query.get("metadata") else f"/page/regions/jobs?{asked}",
        older=_address(query, after=found.after),
        newer=_address(query, before=found.before),
        first=_address(query),
    )


async def _wanted(shell: Shell, query: QueryParams) -> JobSearch:
    # Postgres takes no NUL in text.
    batch = query.get("batch", "").replace("\x00", "").strip()[:_MAX_CHARS]
    return JobSearch(
        batch=await shell.read(find_batch, batch) if batch else None,
        states=_states(query.getlist("state")),
        rendition=query.get("rendition", "").strip()[:_MAX_CHARS] or None,
        kind=query.get("kind") or None,
        text=query.get("q", "").strip()[:_MAX_CHARS],
        metadata=query.get("metadata", "").strip()[:_MAX_CHARS],
    )


def _states(given: Iterable[str]) -> Sequence[JobState]:
    known = {state.value for state in JobState}
    return [JobState(each) for each in given if each in known]


def _given(query: QueryParams) -> list[tuple[str, str]]:
    """The filters that are set, each as often as it is."""
    return [(name, value) for name, value in query.multi_items() if name in _FILTERS and value]


def _address(query: QueryParams, **place: str | None) -> str:
    """The address of another part of this list; empty if there is none."""
    if place and not any(place.values()):
        return ""
    more = [(name, value) for name, value in place.items() if value]
    text = urlencode([*_given(query), *more], quote_via=quote)
    return f"{_PATH}?{text}" if text else _PATH


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def routes() -> list[Route]:
    """The routes of this page."""
    return [
        Route("/jobs", view),
        Route("/regions/jobs", region),
        Route("/jobs/{job}", lead),
    ]
