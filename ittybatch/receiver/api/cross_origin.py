"""Routes that web pages of other origins may call."""

from collections.abc import Sequence
from typing import Any

from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

_ANSWER_VALID_S = 600
_PREFLIGHT = "OPTIONS"


def cross_origin_route(origins: Sequence[str]) -> type[APIRoute]:
    """Make a class of routes that answer pages of some origins, and of no others.

    Only these routes: the rest of the API must not be usable by a page, which cannot keep the
    token secret.

    Args:
        origins: The origins, such as `https://app.example.com`.
    """

    class CrossOriginRoute(APIRoute):
        """A route of FastAPI with the headers of CORS, also on its errors."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - FastAPI's own
            super().__init__(*args, **kwargs)
            methods = self.methods or set()
            self.app = CORSMiddleware(
                self.app,
                allow_origins=origins,
                allow_methods=sorted(methods),
                allow_headers=["Content-Type"],
                expose_headers=["Retry-After"],
                max_age=_ANSWER_VALID_S,
            )

        # Not a method of the route, which OpenAPI would describe as an operation of its own.
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            match, child_scope = super().matches(scope)
            is_preflight = match is Match.PARTIAL and scope["method"] == _PREFLIGHT
            return (Match.FULL if is_preflight else match), child_scope

        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] == _PREFLIGHT:
                await self.app(scope, receive, send)
            else:
                await super().handle(scope, receive, send)

    return CrossOriginRoute
