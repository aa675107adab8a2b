"""Routes for tests: jobs, counts, faults and reset, for requests from this machine only."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import islice
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ittybit_sandbox.errors import ApiError, ConfigurationError, invalid
from ittybit_sandbox.faults import parse_faults
from ittybit_sandbox.gate import error_response, json_response, read_body
from ittybit_sandbox.jobs import DeliveryState, Job, JobStore
from ittybit_sandbox.service import Sandbox
from ittybit_sandbox.validation import is_loopback
from ittybit_sandbox.vocabulary import ErrorKind

_ROWS_PER_CHUNK: Final = 500
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")

AdminHandler = Callable[[Sandbox, Request], Awaitable[Response]]


async def list_all(sandbox: Sandbox, request: Request) -> Response:
    """Stream all jobs, oldest first; `after` and `limit` select a range."""
    start = 0
    jobs = sandbox.memory.jobs
    if after := request.query_params.get("after"):
        job = jobs.get(after)
        if job is None:
            raise invalid("after", f"no job has the id {after}")
        start = job.sequence
    limit = request.query_params.get("limit", str(len(jobs)))
    if not (limit.isascii() and limit.isdecimal()):
        raise invalid("limit", "must be a number")
    chosen = list(islice(jobs, start, start + int(limit)))
    return StreamingResponse(_stream(chosen, jobs), media_type="application/json")


async def summarise(sandbox: Sandbox, _request: Request) -> Response:
    """Count requests, jobs and webhook deliveries."""
    by_status: Counter[str] = Counter()
    pending = 0
    for job in sandbox.memory.jobs:
        by_status[job.status.value] += 1
        pending += sum(1 for one in job.deliveries if one.state is DeliveryState.PENDING)
    keys = sandbox.memory.jobs.created_by_key
    return json_response(
        sandbox.tally.as_dict()
        | {
            "jobs_known": len(sandbox.memory.jobs),
            "jobs_by_status": by_status,
            "deliveries_pending": pending,
            "keys": {"distinct": len(keys), "most_jobs_for_one_key": max(keys.values(), default=0)},
        }
    )


async def redeliver(sandbox: Sandbox, request: Request) -> Response:
    """Send the webhooks of a finished job again, without faults."""
    job = sandbox.memory.jobs.get(request.path_params["id"])
    if job is None:
        message = f"no job has the id {request.path_params['id']}"
        raise ApiError(404, ErrorKind.JOB_NOT_FOUND, message)
    if not job.status.ended:
        raise ApiError(409, ErrorKind.CONFLICT, f"job {job.id} has not ended yet")
    return json_response({"id": job.id, "redelivered_to": sandbox.deliveries.redeliver(job)})


async def show_faults(sandbox: Sandbox, _request: Request) -> Response:
    """Show the faults that are injected."""
    return json_response(sandbox.plan.faults.model_dump(mode="json"))


async def replace_faults(sandbox: Sandbox, request: Request) -> Response:
    """Replace the injected faults."""
    raw = await read_body(request, sandbox.config)
    try:
        sandbox.plan.replace(parse_faults(raw, "the body"))
    except ConfigurationError as error:
        raise ApiError(400, ErrorKind.INVALID_INPUT, str(error)) from None
    return await show_faults(sandbox, request)


async def reset(sandbox: Sandbox, _request: Request) -> Response:
    """Forget every job, endpoint, key, count and fault."""
    await sandbox.reset()
    return json_response({"status": "reset"})


async def check_health(_request: Request) -> Response:
    """Answer that the sandbox is up."""
    return json_response({"status": "ok"})


def _local(handler: AdminHandler) -> Callable[[Request], Awaitable[Response]]:
    async def check(request: Request) -> Response:
        sandbox: Sandbox = request.app.state.sandbox
        try:
            check_local(request)
            return await handler(sandbox, request)
        except ApiError as error:
            return error_response(error)

    return check


def check_local(request: Request) -> None:
    """Accept requests of this machine only: not through a proxy or tunnel, not from a web page.

    Raises:
        ApiError: The request may come from another machine or from a foreign page.
    """
    client = request.client.host if request.client else ""
    forwarded = any(name in request.headers for name in _FORWARDED)
    origin = request.headers.get("origin")
    foreign_page = origin is not None and not is_loopback(urlsplit(origin).hostname or "")
    named = request.url.hostname or ""
    if forwarded or foreign_page or not is_loopback(client) or not is_loopback(named):
        message = "only requests from the sandbox's own machine to a loopback address are allowed"
        raise ApiError(403, ErrorKind.FORBIDDEN, message)


async def _stream(jobs: list[Job], store: JobStore) -> AsyncIterator[bytes]:
    yield b"["
    for start in range(0, len(jobs), _ROWS_PER_CHUNK):
        rows = [orjson.dumps(_row(job, store)) for job in jobs[start : start + _ROWS_PER_CHUNK]]
        yield (b",\n" if start else b"") + b",\n".join(rows)
        await asyncio.sleep(0)
    yield b"]"


def _row(job: Job, store: JobStore) -> dict[str, Any]:
    request = job.request
    key = job.idempotency_key
    return {
        "id": job.id,
        "kind": request.kind,
        "input": request.input,
        "status": job.status,
        "standalone": job.standalone,
        "metadata": request.metadata,
        "idempotency_key": key,
        "created_by_key": store.created_by_key[key] if key is not None else None,
        "attempt": job.attempt,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "error": job.error,
        "deliveries": [
            {
                "url": delivery.url,
                "state": delivery.state,
                "attempts": delivery.attempts,
                "last_status": delivery.last_status,
            }
            for delivery in job.deliveries
        ],
    }


def admin_routes() -> list[Route]:
    """List the routes that Ittybit does not have."""
    return [
        Route("/healthz", check_health, methods=["GET"]),
        Route("/_sandbox/jobs", _local(list_all), methods=["GET"]),
        Route("/_sandbox/summary", _local(summarise), methods=["GET"]),
        Route("/_sandbox/redeliver/{id}", _local(redeliver), methods=["POST"]),
        Route("/_sandbox/faults", _local(show_faults), methods=["GET"]),
        Route("/_sandbox/faults", _local(replace_faults), methods=["POST"]),
        Route("/_sandbox/reset", _local(reset), methods=["POST"]),
    ]
