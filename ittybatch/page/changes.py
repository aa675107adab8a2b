"""The stream of server-sent events: it says that something has changed, and nothing else.

One poll of the ledger serves every viewer of this process, and nothing polls while nobody looks.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Iterator
from http import HTTPStatus

from anyio import CapacityLimiter, to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.changes import ChangeWatch
from ittybatch.page.streams import ClosedStream

logger = logging.getLogger(__name__)

# A browser has one stream, whatever its number of tabs.
MAX_VIEWERS = 200
# With the time to fetch a region, a change shows within a second.
POLL_S = 0.8
# At most so many polls because of webhooks that this process has committed itself.
_POLL_EARLY_S = 0.2
# Proxies end connections on which nothing happens, often after 30 s or 60 s.
_KEEPALIVE_S = 15.0
# Before `protocol.ANSWER_WITHIN_S`. The browser reconnects, and misses nothing.
_STREAM_S = 50.0
_RECONNECT_MS = 300
_TOO_MANY_RETRY_S = "30"

_HEADERS = {
    "Cache-Control": "no-cache, no-store",
    # nginx would hold events back until its buffer is full.
    "X-Accel-Buffering": "no",
}


class Changes:
    """Tells viewers that something has changed.

    Args:
        ledger: The ledger to watch.
        poll_s: Seconds between two polls.
        max_viewers: The most streams at the same time.
    """

    def __init__(
        self, ledger: Ledger, *, poll_s: float = POLL_S, max_viewers: int = MAX_VIEWERS
    ) -> None:
        self._watch = ChangeWatch(ledger)
        self._poll_s = poll_s
        self._max_viewers = max_viewers
        # An event holds one signal and drops others, which would say the same.
        self._viewers: set[asyncio.Event] = set()
        self._early = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        self._threads = CapacityLimiter(1)
        self._seen: str | None = None
        self._failed = False
        self._closing = False
        # Ids of another process, or of before a restart, must not be equal to ours.
        self._process = secrets.token_hex(4)
        self._version = 0

    @property
    def viewers(self) -> int:
        """The number of open streams."""
        return len(self._viewers)

    def hint(self) -> None:
        """Poll soon, because this process has committed a change. In the event loop only."""
        if self._viewers:
            self._early.set()

    def end_streams(self) -> None:
        """End every stream now, and accept no other."""
        self._closing = True
        for viewer in self._viewers:
            viewer.set()

    async def stop(self) -> None:
        """Stop polling."""
        self.end_streams()
        self._early.set()
        if self._poller is not None:
            await asyncio.wait({self._poller})
        self._watch.close()

    def routes(self) -> list[Route]:
        """The route of the stream."""
        return [Route("/changes", self._respond)]

    async def _respond(self, request: Request) -> Response:
        if self._closing or len(self._viewers) >= self._max_viewers:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Too many browsers watch already. The pages update each 30 s.",
                {"Retry-After": _TOO_MANY_RETRY_S},
            )
        last = request.headers.get("last-event-id", "")
        return ClosedStream(self._events(last), media_type="text/event-stream", headers=_HEADERS)

    async def _events(self, last: str) -> AsyncGenerator[str]:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + _STREAM_S
        with self._watching() as viewer:
            yield f"retry: {_RECONNECT_MS}\n\n"
            if last != self._id:
                # Whatever has changed since the page was made.
                yield self._event()
            while not self._closing and loop.time() < ends_at:
                try:
                    async with asyncio.timeout(min(ends_at - loop.time(), _KEEPALIVE_S)):
                        await viewer.wait()
                except TimeoutError:
                    yield ": keepalive\n\n"
                    continue
                viewer.clear()
                if not self._closing:
                    yield self._event()

    @contextlib.contextmanager
    def _watching(self) -> Iterator[asyncio.Event]:
        viewer = asyncio.Event()
        self._viewers.add(viewer)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll_while_watched())
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            self._early.set()  # the poller ends if this was the last

    @property
    def _id(self) -> str:
        return f"{self._process}-{self._version}"

    def _event(self) -> str:
        # A browser drops an event without data.
        return f"event: changed\nid: {self._id}\ndata: 1\n\n"

    async def _poll_while_watched(self) -> None:
        while self._viewers and not self._closing:
            self._early.clear()
            await self._poll()
            await asyncio.sleep(_POLL_EARLY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s - _POLL_EARLY_S):
                    await self._early.wait()

    async def _poll(self) -> None:
        try:
            seen = await to_thread.run_sync(self._watch.look, limiter=self._threads)
        except IttybatchError as error:
            if not self._failed:
                logger.warning("The page cannot see what changes: %s", error)
            self._failed = True
            return
        if seen == self._seen and not self._failed:
            return
        self._failed = False
        self._seen = seen
        self._version += 1
        for viewer in self._viewers:
            viewer.set()
