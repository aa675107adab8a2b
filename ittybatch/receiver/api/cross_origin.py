"""Lets web pages of other origins call the routes of one upload, and no other route."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_ANSWER_VALID_S = 600


class CrossOriginUploads:
    """Adds the headers of CORS to the answers below a path, also to refusals.

    The rest of the API must not be usable by a page, which cannot keep the token secret.

    Args:
        app: The API.
        below: The path, with a slash at its end.
        origins: The pages' origins, such as `https://app.example.com`.
    """

    def __init__(self, app: ASGIApp, below: str, origins: Sequence[str]) -> None:
        self._app = app
        self._below = below
        self._cors = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Content-Type"],
            expose_headers=["Retry-After"],
            max_age=_ANSWER_VALID_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        is_below = scope["type"] == "http" and scope["path"].startswith(self._below)
        await (self._cors if is_below else self._app)(scope, receive, send)
