"""A route of the API without FastAPI's layers, which take longer than the rest of a request.

FastAPI still describes the route, and answers for its other methods.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ittybatch.receiver.api.app import Counted
from ittybatch.receiver.api.auth import BearerToken
from ittybatch.receiver.api.errors import answer_to
from ittybatch.receiver.metrics import Metrics


def direct_route(
    path: str,
    token: str,
    endpoint: Callable[[Request], Awaitable[Response]],
    metrics: Metrics,
) -> Route:
    """Make a route for POST that answers as the API does.

    Args:
        path: Its path, without parameters.
        token: The bearer token that every request needs.
        endpoint: Reads the request and answers it.
        metrics: Counts requests by outcome.
    """
    return Route(path, Counted(_Direct(path, token, endpoint), metrics), methods=["POST"])


class _Direct:
    """Checks the token, answers, and answers for errors."""

    def __init__(
        self, path: str, token: str, endpoint: Callable[[Request], Awaitable[Response]]
    ) -> None:
        self.path = path
        self._token = BearerToken(token)
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self  # as FastAPI does: it names the route in the metrics
        request = Request(scope, receive)
        try:
            await self._token(request)
            response = await self._endpoint(request)
        except Exception as error:
            response = await answer_to(request, error)
            await response(scope, receive, send)
            if response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
                raise  # the server logs it
        else:
            await response(scope, receive, send)
