"""The API as a FastAPI application, which the receiver mounts beside the webhook route."""

import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ittybatch import __version__
from ittybatch.receiver.api.auth import BearerToken
from ittybatch.receiver.api.cross_origin import CrossOriginUploads
from ittybatch.receiver.api.errors import answer_error, answer_json, install
from ittybatch.receiver.api.models import ErrorAnswer, ProcessRequest
from ittybatch.receiver.api.upload_models import UPLOADS, CompleteRequest, UploadRequest
from ittybatch.receiver.metrics import Metrics

# Where the routes are; without a token these are answered with a hint.
PATHS = ("/process", "/jobs/{id}", "/uploads", "/uploads/{path:path}", "/openapi.json")
_OPENAPI_PATH = "/openapi.json"
# Without this, FastAPI would describe errors in a form of its own.
_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "The request cannot be served."}
}
# Bodies that the handlers read and check by themselves.
_REQUESTS = (ProcessRequest, UploadRequest, CompleteRequest)
# Of pydantic's JSON schema, in OpenAPI.
_SCHEMAS = "#/components/schemas/{model}"


def create_api(
    token: str,
    routers: Sequence[APIRouter],
    metrics: Metrics,
    self_authorised: Sequence[APIRouter] = (),
    origins: Sequence[str] = (),
) -> ASGIApp:
    """Create the API.

    Args:
        token: The bearer token that every request to `routers` needs.
        routers: The routes.
        metrics: Counts requests by route and outcome.
        self_authorised: Routes whose path holds a signed id, which takes the token's place.
        origins: Origins of the web pages that may call those routes.
    """
    needs_token = [Depends(BearerToken(token))]
    api = FastAPI(
        title="ittybatch",
        version=__version__,
        summary="Make jobs of uploads, and ask what became of them.",
        # FastAPI's own page loads scripts from a CDN, and its schema needs no token.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    # A redirect would go to whatever Host a stranger named.
    api.router.redirect_slashes = False
    install(api)
    for router in routers:
        api.include_router(router, dependencies=needs_token, responses=_ERRORS)
    api.add_middleware(CrossOriginUploads, below=f"{UPLOADS}/", origins=origins)
    for router in self_authorised:
        api.include_router(router, responses=_ERRORS)

    async def openapi() -> Response:
        """Describe the API."""
        return answer_json(_described(api))

    api.add_api_route(_OPENAPI_PATH, openapi, include_in_schema=False, dependencies=needs_token)
    return Counted(api, metrics)


def off_routes() -> list[Route]:
    """The routes of an API that is off: each says so, and how to turn it on."""
    return [Route(path, _Off()) for path in PATHS]


class _Off:
    """Answers every method."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = answer_error(
            HTTPStatus.NOT_FOUND,
            "The API is off.",
            remedy="Set ITTYBATCH_API_TOKEN to a secret of 16 characters or more for the "
            "receiver, and start it again.",
        )
        await answer(scope, receive, send)


def _described(api: FastAPI) -> dict[str, Any]:
    if api.openapi_schema is None:
        schema = get_openapi(
            title=api.title, version=api.version, summary=api.summary, routes=api.routes
        )
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        for model in _REQUESTS:
            request = model.model_json_schema(ref_template=_SCHEMAS)
            schemas |= request.pop("$defs", {})
            schemas[model.__name__] = request
        api.openapi_schema = schema
    return api.openapi_schema


class Counted:
    """Counts the answers of an application by route and status.

    Args:
        app: The application.
        metrics: Counts.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and count its answer."""
        started = time.perf_counter()

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Unknown paths are counted together: their number has no bound.
                route = getattr(scope.get("route"), "path", "") or "other"
                seconds = time.perf_counter() - started
                self._metrics.answered(route, message["status"], seconds)
            await send(message)

        await self._app(scope, receive, count)
