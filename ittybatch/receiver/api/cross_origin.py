"""Routes that web pages of other origins may call."""

from collections.abc import Sequence
from typing import Any

from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

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
            # After the schema's operations were made of the methods.
            self.methods = {*methods, _PREFLIGHT}

    return CrossOriginRoute
