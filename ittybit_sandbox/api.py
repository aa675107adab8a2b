"""The routes of Ittybit's API."""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ittybit_sandbox.endpoints import Endpoint
from ittybit_sandbox.errors import ApiError, invalid
from ittybit_sandbox.gate import CREATED, KEY_HEADER, Handler, gated, json_response
from ittybit_sandbox.idempotency import check_key, fingerprint_of
from ittybit_sandbox.jobs import Job, ListingQuery
from ittybit_sandbox.objects import (
    STAGES,
    Shown,
    show_created,
    show_created_task,
    show_job,
    show_stage,
    show_task,
    with_sdk_times,
)
from ittybit_sandbox.service import Sandbox
from ittybit_sandbox.validation import JsonObject, parse_job, parse_object, parse_task
from ittybit_sandbox.vocabulary import JOB_KINDS, ErrorKind, Kind, Status

Show = Callable[[Job], Shown]
_DEFAULT_LIMIT: Final = 20
_MAX_LIMIT: Final = 100
_MAX_PAGE: Final = 1_000_000
_LISTED_STATUSES: Final = (
    Status.QUEUED,
    Status.PROCESSING,
    Status.SUCCEEDED,
    Status.FAILED,
    Status.CANCELLED,
)


async def create_job(sandbox: Sandbox, request: Request, raw: bytes) -> Response:
    """Create a job, once per Idempotency-Key."""
    return _create(sandbox, request, parse_object(raw), show_created, standalone=False)


async def create_task(sandbox: Sandbox, request: Request, raw: bytes) -> Response:
    """Create a standalone task, or a job if `input` is a string: the older name of `POST /jobs`."""
    body = parse_object(raw)
    standalone = not isinstance(body.get("input"), str)
    return _create(sandbox, request, body, show_created_task, standalone=standalone)


async def list_jobs(sandbox: Sandbox, request: Request, _raw: bytes) -> Response:
    """List jobs, filtered, a page at a time."""
    return _list(sandbox, request, show_job, with_tasks=False)


async def list_tasks(sandbox: Sandbox, request: Request, _raw: bytes) -> Response:
    """List jobs and standalone tasks; the official SDK counts `page` from 1."""
    return _list(sandbox, request, show_task, with_tasks=True)


async def get_job(sandbox: Sandbox, request: Request, _raw: bytes) -> Response:
    """Show a job and its tasks."""
    job = sandbox.memory.jobs.get(request.path_params["id"])
    if job is None or job.standalone:
        message = f"no job has the id {request.path_params['id']}"
        raise ApiError(404, ErrorKind.JOB_NOT_FOUND, message)
    return json_response(show_job(job))


async def get_task(sandbox: Sandbox, request: Request, _raw: bytes) -> Response:
    """Show a standalone task, a task of a job, or a job."""
    task_id: str = request.path_params["id"]
    job = sandbox.memory.jobs.get(task_id)
    if job is not None:
        return json_response(show_task(job))
    job_id, _, name = task_id.rpartition("_")
    owner = sandbox.memory.jobs.get(job_id)
    stage = next((stage for stage in STAGES if stage == name), None)
    if owner is None or owner.standalone or stage is None:
        raise ApiError(404, ErrorKind.TASK_NOT_FOUND, f"no task has the id {task_id}")
    return json_response(with_sdk_times(show_stage(owner, stage)))


async def create_endpoint(sandbox: Sandbox, request: Request, raw: bytes) -> Response:
    """Register a webhook endpoint for the whole project."""
    body = parse_object(raw)
    key, fingerprint, existing = _find_by_key(sandbox, request, "webhooks", body)
    if isinstance(existing, Endpoint):
        return json_response(existing.shown())
    endpoint = sandbox.memory.endpoints.parse(body)
    sandbox.memory.register(endpoint, key=key, fingerprint=fingerprint)
    return json_response(endpoint.shown(), CREATED)


async def list_endpoints(sandbox: Sandbox, _request: Request, _raw: bytes) -> Response:
    """List the registered endpoints."""
    return json_response([endpoint.shown() for endpoint in sandbox.memory.endpoints])


async def delete_endpoint(sandbox: Sandbox, request: Request, _raw: bytes) -> Response:
    """Delete a registered endpoint."""
    return json_response(sandbox.memory.unregister(request.path_params["id"]).shown())


def _create(
    sandbox: Sandbox, request: Request, body: JsonObject, show: Show, *, standalone: bool
) -> Response:
    # There is no await between the lookup of the key and the creation of the job, so two
    # concurrent requests with the same key cannot both create one.
    key, fingerprint, existing = _find_by_key(sandbox, request, "jobs", body)
    if isinstance(existing, Job):
        return json_response(show(existing))
    parsed = parse_task(body) if standalone else parse_job(body)
    job = sandbox.memory.accept(parsed, key=key, fingerprint=fingerprint, standalone=standalone)
    if standalone:
        sandbox.tally.tasks_created += 1
    else:
        sandbox.tally.jobs_created += 1
    response = json_response(show(job), CREATED)
    sandbox.encoder.submit(job)
    return response


def _find_by_key(
    sandbox: Sandbox, request: Request, route: str, body: JsonObject
) -> tuple[str | None, str, Job | Endpoint | None]:
    """Return the Idempotency-Key, the body's fingerprint, and what the key has created before."""
    key = check_key(request.headers.get(KEY_HEADER))
    if key is None:
        return None, "", None
    fingerprint = fingerprint_of(route, body)
    try:
        existing: Job | Endpoint | None = sandbox.memory.keys.find(key, fingerprint)
    except ApiError:
        sandbox.tally.conflicts += 1
        raise
    if existing is not None:
        sandbox.tally.replays += 1
    return key, fingerprint, existing


def _list(sandbox: Sandbox, request: Request, show: Show, *, with_tasks: bool) -> Response:
    query = _listing_query(sandbox, request, with_tasks=with_tasks)
    listing = sandbox.memory.jobs.page(query)
    headers = {"Has-More": str(listing.has_more).lower(), "Limit": str(query.limit)}
    if listing.has_more:
        places = {"before", "page"}
        kept = {key: value for key, value in request.query_params.items() if key not in places}
        following = urlencode(kept | {"after": listing.jobs[-1].id})
        url = f"{sandbox.config.base_url}{request.url.path}?{following}"
        headers["Link"] = f'<{url}>; rel="next"'
    return json_response([show(job) for job in listing.jobs], headers=headers)


def _listing_query(sandbox: Sandbox, request: Request, *, with_tasks: bool) -> ListingQuery:
    params = request.query_params
    kind, status, order = params.get("kind"), params.get("status"), params.get("order", "desc")
    limit = params.get("limit", str(_DEFAULT_LIMIT))
    kinds = frozenset(Kind) if with_tasks else JOB_KINDS
    if kind is not None and kind not in kinds:
        raise invalid("kind", f"must be one of {', '.join(sorted(kinds))}")
    if status is not None and status not in _LISTED_STATUSES:
        raise invalid("status", f"must be one of {', '.join(_LISTED_STATUSES)}")
    if order not in {"asc", "desc"}:
        raise invalid("order", "must be asc or desc")
    page = params.get("page", "1") if with_tasks else "1"
    for name, value, most in (("limit", limit, _MAX_LIMIT), ("page", page, _MAX_PAGE)):
        if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= most):
            raise invalid(name, f"must be a number from 1 to {most}")
    return ListingQuery(
        kind=None if kind is None else Kind(kind),
        status=None if status is None else Status(status),
        input=params.get("input"),
        limit=int(limit),
        page=int(page),
        with_tasks=with_tasks,
        after=_sequence_of(sandbox, params.get("after"), "after"),
        before=_sequence_of(sandbox, params.get("before"), "before"),
        descending=order == "desc",
    )


def _sequence_of(sandbox: Sandbox, job_id: str | None, field: str) -> int | None:
    if job_id is None:
        return None
    job = sandbox.memory.jobs.get(job_id)
    if job is None:
        raise invalid(field, f"no job has the id {job_id}")
    return job.sequence


def api_routes() -> list[Route]:
    """List the routes, the busiest first."""
    routes: tuple[tuple[str, str, Handler], ...] = (
        ("POST", "/jobs", create_job),
        ("GET", "/jobs/{id}", get_job),
        ("GET", "/jobs", list_jobs),
        ("POST", "/tasks", create_task),
        ("GET", "/tasks/{id}", get_task),
        ("GET", "/tasks", list_tasks),
        ("POST", "/webhooks", create_endpoint),
        ("POST", "/webhooks/endpoints", create_endpoint),
        ("GET", "/webhooks", list_endpoints),
        ("GET", "/webhooks/endpoints", list_endpoints),
        ("DELETE", "/webhooks/{id}", delete_endpoint),
        ("DELETE", "/webhooks/endpoints/{id}", delete_endpoint),
    )
    return [
        Route(path, gated(f"{method} {path}", handler), methods=[method])
        for method, path, handler in routes
    ]
