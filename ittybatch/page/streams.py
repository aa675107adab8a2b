"""Answers that are sent in parts, and what ends with them."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import cast

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Send

# In the state of a request: a function that gives the answer its whole time again.
MORE_TIME = "ittybatch.more_time"


class ClosedStream(StreamingResponse):
    """An answer whose generator is closed at once when the answer is cut."""

    async def stream_response(self, send: Send) -> None:
        """Send the parts, then close the generator."""
        parts = cast("AsyncGenerator[bytes]", self.body_iterator)
        async with contextlib.aclosing(parts):
            await super().stream_response(send)


def more_time_of(request: Request) -> Callable[[], None]:
    """The function that gives an answer its whole time again."""
    found: Callable[[], None] = request.scope.get("state", {}).get(MORE_TIME, _nothing)
    return found


def _nothing() -> None:
    """Do nothing: this server does not limit the time of an answer."""
