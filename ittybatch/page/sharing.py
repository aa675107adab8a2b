"""Regions are made once for all who wait for them, one at a time, with a rest after each.

When a webhook has changed something, every open tab fetches its regions at once. Made one by one,
they would take the CPU that the next webhooks need.
"""

import asyncio
from collections.abc import Hashable, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REGIONS = "/page/regions/"
# The rest after a region is made: so many times as long as it took, up to a limit.
_REST = 2.0
_MOST_REST_S = 0.5
# A region that waits for something else, such as a bucket, does not keep the others waiting.
_MOST_TURN_S = 1.0


class SharedRegions:
    """An ASGI application around the page, inside its guard.

    A request gets an answer whose making began after the request had come: it never shows less
    than what was committed before. Requests that come while a region is being made wait for the
    next one, and share it.

    Args:
        app: The page.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._next: dict[Hashable, asyncio.Task[Sequence[Message]]] = {}
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request: a region with others who ask for it, anything else alone."""
        is_region = scope["type"] == "http" and scope["path"].startswith(_REGIONS)
        if not is_region or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        viewer = scope["state"]["viewer"]
        by_script = "hx-request" in Headers(scope=scope)
        key = (scope["path"], scope["query_string"], viewer.name, viewer.may_act, by_script)
        made = self._next.get(key)
        if made is None:
            made = self._next[key] = asyncio.create_task(self._make(key, scope))
        # Who asked first may leave; the others still wait.
        for message in await asyncio.shield(made):
            await send({**message})

    async def _make(self, key: Hashable, scope: Scope) -> Sequence[Message]:
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            messages.append(message)

        await self._turn.acquire()
        # Who comes from now on may have seen a change that this answer does not have.
        del self._next[key]
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        request = {**scope, "state": dict(scope["state"])}
        making = asyncio.ensure_future(self._app(request, receive, send))
        await asyncio.wait({making}, timeout=_MOST_TURN_S)
        rest_s = min(_REST * (loop.time() - began_s), _MOST_REST_S)
        loop.call_later(rest_s, self._turn.release)
        await making
        return messages
