"""uvicorn's HTTP/1.1 protocol with a limit on everything that a stranger can send.

uvicorn's httptools parser has no limits: it joins the pieces of an endless header again and
again, and waits forever for the rest. Its h11 parser limits bytes but not time, and takes a
fifth more CPU per webhook.
"""

import asyncio
import itertools
import resource
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ittybatch.page.streams import MORE_TIME

# Of a request line with its headers; also of chunk headers and trailers.
MAX_HEAD_BYTES = 32_768
MAX_HEADERS = 100
# Requests that may wait on one connection for an earlier answer.
MAX_PIPELINED = 16
# Half of the process's file descriptors; on most systems 512.
_OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
MAX_CONNECTIONS = min(768, _OPEN_FILES // 2) if _OPEN_FILES > 0 else 768
HEAD_WITHIN_S = 10.0
# Between two requests of one connection.
IDLE_S = 30.0
# From the head to the end of the answer, or of a part of a download. A webhook's body and commit
# have shorter limits.
ANSWER_WITHIN_S = 60.0
# For the client to read the rest of the answer before the connection is aborted.
_CLOSE_WITHIN_S = 5.0
_CHECK_EVERY_S = 2.0
# In the state of the lifespan: a function that ends the answers that would last.
END_STREAMS = "ittybatch.end_streams"
_accepted = itertools.count()


class _LimitExceeded(Exception):
    """The request exceeds a limit."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection, limited by the constants above.

    Args:
        *args: Passed on to uvicorn's protocol.
        **kwargs: Passed on to uvicorn's protocol.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own arguments
        super().__init__(*args, **kwargs)
        self.deadline = 0.0  # by the loop's clock
        # uvloop's clock stands still for a turn of the loop, which may accept many connections.
        self._number = next(_accepted)
        # One timer for the connection: a timer per request would cost more.
        self._timer: asyncio.TimerHandle | None = None
        # Bytes since the parser last made progress: in a head, a trailer or a chunk header.
        self._stalled_bytes = 0
        self._has_progress = False
        self._has_started = True
        self._wants_upgrade = False

    @property
    def is_idle(self) -> bool:
        """Whether the connection is idle: no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection; above the limit, close the idle one that expires first."""
        super().connection_made(transport)
        self._expire_in(HEAD_WITHIN_S)
        self._set_timer()
        if len(self.connections) > MAX_CONNECTIONS:
            self._close_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse in pieces, as long as the parser makes progress."""
        self._unset_keepalive_if_required()
        if not self._has_started:
            self._has_started = True
            self._expire_in(HEAD_WITHIN_S)
        try:
            for start in range(0, len(data), MAX_HEAD_BYTES):
                if self.transport.is_closing():
                    return
                self._feed(data[start : start + MAX_HEAD_BYTES])
        except _LimitExceeded as error:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, str(error))
        except httptools.HttpParserError as error:
            # The parser wraps what its callbacks raise.
            if isinstance(error.__context__, _LimitExceeded):
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                self._refuse(status, str(error.__context__))
            else:
                self._refuse(HTTPStatus.BAD_REQUEST, "This is not a valid HTTP request.")

    def _feed(self, piece: bytes) -> None:
        self._has_progress = False
        while True:
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                piece = self._without_upgrade() + piece[upgrade.args[0] :]
            else:
                break
        self._stalled_bytes = 0 if self._has_progress else self._stalled_bytes + len(piece)
        if self._stalled_bytes >= MAX_HEAD_BYTES:
            raise _LimitExceeded(f"The request's head is over {MAX_HEAD_BYTES} bytes.")

    def _without_upgrade(self) -> bytes:
        """Restart the request without its `Upgrade` header; with it, httptools reads no body.

        Returns:
            The request's head for the new parser.
        """
        lines = [
            b"%s %s HTTP/%s"
            % (self.parser.get_method(), self.url, self.parser.get_http_version().encode()),
            *(b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"),
        ]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"\r\n".join([*lines, b"", b""])

    # Callbacks of the parser

    def on_headers_complete(self) -> None:
        """Start the answer, unless the request has to be parsed again."""
        self._has_progress = True
        if len(self.headers) > MAX_HEADERS:
            raise _LimitExceeded(f"The request has more than {MAX_HEADERS} headers.")
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _LimitExceeded(f"More than {MAX_PIPELINED} requests wait on this connection.")
        self._wants_upgrade = self.parser.should_upgrade()
        if not self._wants_upgrade:
            self._expire_in(ANSWER_WITHIN_S)
            self.scope["state"][MORE_TIME] = self._give_more_time
            super().on_headers_complete()
            # Trailers are not headers: collect them in a separate list.
            self.headers = []
        elif self.parser.get_method() == b"CONNECT":
            raise ValueError("CONNECT is not supported")

    def on_body(self, body: bytes) -> None:
        """Receive a piece of the body."""
        self._has_progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Finish the body."""
        self._has_progress = True
        if not self._wants_upgrade:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request; close the connection if this one has unread data."""
        super().on_response_complete()
        if self.is_idle:
            self._has_started = False
            self._expire_in(IDLE_S)
            if self.cycle.more_body:
                self.transport.close()

    # Closing

    def shutdown(self) -> None:
        """Close after the answer, and end it now if it is a stream."""
        if end := self.app_state.get(END_STREAMS):
            end()
        super().shutdown()

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        body = reason.encode()
        self.transport.write(
            b"%scontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (STATUS_LINE[status], len(body), body)
        )
        self.transport.close()

    def _close_idle(self) -> None:
        """Abort the idle connection that expires first; a new connection expires last."""
        ours = (each for each in self.connections if isinstance(each, BoundedProtocol))
        idle = (each for each in ours if each.is_idle)
        first = min(idle, key=lambda each: (each.deadline, each._number))  # noqa: SLF001  a sibling
        first.transport.abort()
        # uvicorn removes it only later; until then it would be chosen again.
        self.connections.discard(first)

    def _expire_in(self, seconds: float) -> None:
        self.deadline = self.loop.time() + seconds

    def _give_more_time(self) -> None:
        """Let a download go on whose client reads it."""
        if not self.transport.is_closing():
            self._expire_in(ANSWER_WITHIN_S)

    def _set_timer(self) -> None:
        at = min(self.deadline, self.loop.time() + _CHECK_EVERY_S)
        self._timer = self.loop.call_at(at, self._check)

    def _check(self) -> None:
        if self.loop.time() >= self.deadline:
            if self.transport.is_closing():  # and the client does not read the rest
                self.transport.abort()
                return
            self.transport.close()
            self._expire_in(_CLOSE_WITHIN_S)
        self._set_timer()
