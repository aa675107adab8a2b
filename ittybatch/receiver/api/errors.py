"""The API's answers to requests that it cannot serve, and their one form.

    {"error": "There is no kind 'movie'.", "field": "kind", "remedy": "Use video, audio or ..."}

`field` and `remedy` are left out where there is nothing to say.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ittybatch.intake.upload_store import StoreUnavailable
from ittybatch.intake.wanted import MayBeTaken, RequestRefused
from ittybatch.ledger.database import LedgerUnavailable

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 5
NOT_FOUND = "not found"
_JSON = "application/json"


def answer_json(
    content: object, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON."""
    return Response(orjson.dumps(content), status, headers, _JSON)


def answer_error(
    status: int,
    error: str,
    *,
    field: str | None = None,
    remedy: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with an error in the API's form."""
    content = {"error": error, "field": field, "remedy": remedy}
    return answer_json({name: text for name, text in content.items() if text}, status, headers)


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for no other
    if error.status_code == HTTPStatus.NOT_FOUND:
        return answer_error(HTTPStatus.NOT_FOUND, NOT_FOUND)
    return answer_error(error.status_code, error.detail, headers=error.headers)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefused)  # noqa: S101 - registered for no other
    return answer_error(error.status, error.message, field=error.field, remedy=error.remedy)


async def _invalid(_request: Request, error: Exception) -> Response:
    """Answer about a parameter of the path or the query, which FastAPI checks."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for no other
    first = error.errors()[0]
    return answer_error(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"{first['msg']}.",
        field=str(first["loc"][-1]),
        remedy="Correct it and send the request again.",
    )


async def _unavailable(_request: Request, error: Exception) -> Response:
    # The message names the database, which is for the log alone.
    logger.warning("A request was not taken: %s", error)
    return answer_error(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The ledger is unavailable. Nothing was taken.",
        remedy="Send the request again in a few seconds.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


async def _may_be_taken(_request: Request, error: Exception) -> Response:
    assert isinstance(error, MayBeTaken)  # noqa: S101 - registered for no other
    logger.warning("A request may have been taken: %s", error.message)
    return answer_error(
        HTTPStatus.SERVICE_UNAVAILABLE,
        error.message,
        remedy=error.remedy,
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


async def _no_store(_request: Request, error: Exception) -> Response:
    assert isinstance(error, StoreUnavailable)  # noqa: S101 - registered for no other
    return answer_error(
        HTTPStatus.SERVICE_UNAVAILABLE,
        error.message,
        remedy=error.remedy,
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


async def _unexpected(_request: Request, _error: Exception) -> Response:
    # Starlette raises the error again after this answer, and the server logs it.
    return answer_error(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The receiver failed on this request.",
        remedy="Send the request again. What it did before it failed is not done twice. If it "
        "fails again, look at the receiver's log.",
    )


HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _http,
    RequestRefused: _refused,
    RequestValidationError: _invalid,
    MayBeTaken: _may_be_taken,
    LedgerUnavailable: _unavailable,
    StoreUnavailable: _no_store,
    Exception: _unexpected,
}


def install(api: FastAPI) -> None:
    """Make every error of an API's routes an answer in the API's form."""
    for error, handler in HANDLERS.items():
        api.add_exception_handler(error, handler)


async def answer_to(request: Request, error: Exception) -> Response:
    """Answer an error of a route as the API does."""
    handler = next(HANDLERS[each] for each in type(error).__mro__ if each in HANDLERS)
    return await handler(request, error)
