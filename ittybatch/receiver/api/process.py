"""`POST /process`: an upload comes in, its jobs go out at once."""

from http import HTTPStatus

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ittybatch.bodies import read_body
from ittybatch.intake.declared import Declared
from ittybatch.intake.events import is_event
from ittybatch.receiver.api.answers import answer_of
from ittybatch.receiver.api.errors import answer_json
from ittybatch.receiver.api.event_schemas import process_body
from ittybatch.receiver.api.events import Events
from ittybatch.receiver.api.models import ErrorAnswer, EventAnswer, ProcessAnswer
from ittybatch.receiver.api.requests import (
    IDEMPOTENCY_HEADER,
    idempotency_key,
    parse_object,
    wanted_of,
)
from ittybatch.receiver.api.taking import TakesRequests

_ERRORS = {
    401: "The bearer token is missing or wrong.",
    408: "The body took too long.",
    409: f"The `{IDEMPOTENCY_HEADER}` belongs to an earlier request with another body.",
    413: "The body is too large.",
    422: "The request cannot be taken; `field` and `remedy` say why. Nothing was taken.",
    503: "The ledger is unavailable or too slow; `error` says whether the request may have been "
    "taken. Repeat it after `Retry-After`, with the same key.",
}


class ProcessRoute:
    """Takes requests and events.

    Args:
        intake: Takes them into the ledger and sends their jobs.
        declared: Which events make which jobs.
        max_body_bytes: The largest body read.
    """

    def __init__(self, intake: TakesRequests, declared: Declared, max_body_bytes: int) -> None:
        self._intake = intake
        self._events = Events(intake, declared)
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
                200: {"model": EventAnswer, "description": "An event that asks for nothing."},
                202: {"model": ProcessAnswer, "description": "The ledger holds the jobs."},
                **{
                    status: {"model": ErrorAnswer, "description": text}
                    for status, text in _ERRORS.items()
                },
            },
            # The body is read by the handler: an event has another form than a request.
            openapi_extra={
                "requestBody": process_body(),
                "parameters": [
                    {
                        "name": IDEMPOTENCY_HEADER,
                        "in": "header",
                        "description": "A key of your choice. For two days, the same request with "
                        "the same key gets the same jobs.",
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
        if is_event(content):
            return await self._events.answer(content)
        taken = await self._intake.take(wanted_of(content, idempotency_key(request)))
        return answer_json(answer_of(taken.jobs), HTTPStatus.ACCEPTED)
