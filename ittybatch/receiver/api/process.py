"""`POST /process`: an upload comes in, its jobs go out at once."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ittybatch.intake.taken import Taken, TakenJob
from ittybatch.intake.wanted import Wanted
from ittybatch.receiver.api.errors import answer_json
from ittybatch.receiver.api.models import ErrorAnswer, ProcessAnswer, ProcessRequest
from ittybatch.receiver.api.requests import (
    IDEMPOTENCY_HEADER,
    idempotency_key,
    parse_object,
    wanted_of,
)
from ittybatch.receiver.bodies import read_body

PROCESSING = "processing"
SKIPPED = "skipped"
# The status of several jobs together is the first of these that one of them has.
_WEIGHT = (PROCESSING, "held", "failed", "expired", "cancelled", "succeeded")
_ERRORS = {
    401: "The bearer token is missing or wrong.",
    408: "The body took too long.",
    409: f"The `{IDEMPOTENCY_HEADER}` belongs to an earlier request with another body.",
    413: "The body is too large.",
    422: "The request cannot be taken; `field` and `remedy` say why. Nothing was taken.",
    503: "The ledger is unavailable; nothing was taken. Repeat after `Retry-After`.",
}


class TakesRequests(Protocol):
    """What takes requests into the ledger: `ittybatch.intake.intake.Intake`."""

    async def take(self, wanted: Wanted, *, answer_within_s: float = ...) -> Taken:
        """Take one request; returns once the ledger holds it."""


class ProcessRoute:
    """Takes requests and events.

    Args:
        intake: Takes them into the ledger and sends their jobs.
        max_body_bytes: The largest body read.
    """

    def __init__(self, intake: TakesRequests, max_body_bytes: int) -> None:
        self._intake = intake
        self._max_body_bytes = max_body_bytes

    def router(self) -> APIRouter:
        """The route for FastAPI."""
        router = APIRouter()
        router.add_api_route(
            "/process",
            self.post,
            methods=["POST"],
            status_code=HTTPStatus.ACCEPTED,
            summary="Make jobs of an upload",
            response_model=None,
            responses={
                202: {"model": ProcessAnswer, "description": "The ledger holds the jobs."},
                **{
                    status: {"model": ErrorAnswer, "description": text}
                    for status, text in _ERRORS.items()
                },
            },
            # The body is read by the handler: an event has another form than a request.
            openapi_extra={
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": f"#/components/schemas/{ProcessRequest.__name__}"}
                        }
                    },
                },
                "parameters": [
                    {
                        "name": IDEMPOTENCY_HEADER,
                        "in": "header",
                        "description": "A key of your choice. The same request with the same key "
                        "gets the same jobs.",
                        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                    }
                ],
            },
        )
        return router

    async def post(self, request: Request) -> Response:
        """Take a request, or an event of a bucket or a table, and send its jobs.

        The answer has Ittybit's ids if Ittybit answers within a second.
        """
        content = parse_object(await read_body(request, self._max_body_bytes))
        taken = await self._intake.take(wanted_of(content, idempotency_key(request)))
        return answer_json(answer_of(taken.jobs), HTTPStatus.ACCEPTED)


def answer_of(jobs: Sequence[TakenJob]) -> dict[str, Any]:
    """Answer a request with its jobs; the first is also the answer's own."""
    shown = [shown_job(job) for job in jobs]
    first: Mapping[str, Any] = shown[0] if shown else {}
    answer: dict[str, Any] = {
        "task_id": first.get("task_id"),
        "job_id": first.get("job_id"),
        "status": overall_status([job.status for job in jobs]),
    }
    answer |= {name: first[name] for name in ("output_url", "error") if name in first}
    return {**answer, "jobs": shown}


def shown_job(job: TakenJob) -> dict[str, Any]:
    """Show one job of a request."""
    shown: dict[str, Any] = {
        "job_id": job.job_id,
        "task_id": job.task_id,
        "rendition": job.rendition,
        "kind": job.kind,
        "status": job.status,
    }
    if job.output_url is not None:
        shown["output_url"] = job.output_url
    if job.error is not None:
        shown["error"] = job.error
    return shown


def overall_status(statuses: Sequence[str]) -> str:
    """The status of several jobs together."""
    return min(statuses, key=_WEIGHT.index) if statuses else SKIPPED
