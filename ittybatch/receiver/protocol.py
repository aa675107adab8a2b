"""HTTP/1.1 as uvicorn speaks it, with a bound for everything that a stranger may send.

uvicorn's parser in C has no limit of its own: it joins the pieces of an endless header again
and again, and waits for ever for the rest of one. Its other parser, h11, has a limit for bytes
but none for time, and takes six times as long for each request.
"""

import asyncio
import resource
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

# Of a request's line and headers; likewise of what may stand between two pieces of its body.
MOST_HEAD_BYTES = 32_768
MOST_HEADERS = 100
# Requests that may wait on one connection while an earlier one is answered.
MOST_PIPELINED = 16
# Half of the files that a process may have open, as there are others; 512 on most systems.
_OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
MOST_CONNECTIONS = min(768, _OPEN_FILES // 2) if _OPEN_FILES > 0 else 768
HEAD_WITHIN_S = 10.0
# Between two requests of one connection.
IDLE_S = 30.0
# From a head to the end of its answer. A webhook's body and commit have shorter ones.
ANSWER_WITHIN_S = 60.0
# For whoever has not read all of its answer once the connection is to be closed.
_CLOSE_WITHIN_S = 5.0
_LOOK_EVERY_S = 2.0


class _OverBound(Exception):
    """A request that is past a bound."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection, which costs no more than the bounds above.

    Args:
        *args: What uvicorn gives to a connection.
        **kwargs: Likewise.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  uvicorn's business
        super().__init__(*args, **kwargs)
        self.deadline = 0.0  # by the loop's clock
        # One for the connection's whole life: a new one for each request would cost more.
        self._timer: asyncio.TimerHandle | None = None
        # Bytes since the parser last got on: a head, a trailer, a chunk's line.
        self._stalled_bytes = 0
        self._has_advanced = False
        self._has_begun = True
        self._wants_upgrade = False

    @property
    def is_waiting(self) -> bool:
        """Whether we wait for a request, and none is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, if need be in the place of another that waits."""
        super().connection_made(transport)
        self._allow(HEAD_WITHIN_S)
        self._look_again()
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, in pieces, for as long as the parser gets on with it."""
        self._unset_keepalive_if_required()
        if not self._has_begun:
            self._has_begun = True
            self._allow(HEAD_WITHIN_S)
        try:
            for start in range(0, len(data), MOST_HEAD_BYTES):
                if self.transport.is_closing():
                    return
                self._feed(data[start : start + MOST_HEAD_BYTES])
        except _OverBound as over:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, str(over))
        except httptools.HttpParserError as error:
            # The parser wraps what its callbacks raise.
            if isinstance(error.__context__, _OverBound):
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                self._refuse(status, str(error.__context__))
            else:
                self._refuse(HTTPStatus.BAD_REQUEST, "This is not a valid HTTP request.")

    def _feed(self, piece: bytes) -> None:
        self._has_advanced = False
        while True:
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                piece = self._without_upgrade() + piece[upgrade.args[0] :]
            else:
                break
        self._stalled_bytes = 0 if self._has_advanced else self._stalled_bytes + len(piece)
        if self._stalled_bytes >= MOST_HEAD_BYTES:
            raise _OverBound(f"The request's head is over {MOST_HEAD_BYTES} bytes.")

    def _without_upgrade(self) -> bytes:
        """Begin a request anew without its wish for another protocol, after which no body is read.

        Returns:
            The request's head, for the new parser.
        """
        lines = [
            b"%s %s HTTP/%s"
            % (self.parser.get_method(), self.url, self.parser.get_http_version().encode()),
            *(b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"),
        ]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"\r\n".join([*lines, b"", b""])

    # What the parser calls

    def on_headers_complete(self) -> None:
        """Begin to answer the request, unless it is to be parsed anew."""
        self._has_advanced = True
        if len(self.headers) > MOST_HEADERS:
            raise _OverBound(f"The request has more than {MOST_HEADERS} headers.")
        if len(self.pipeline) >= MOST_PIPELINED:
            raise _OverBound(f"More than {MOST_PIPELINED} requests wait on this connection.")
        self._wants_upgrade = self.parser.should_upgrade()
        if not self._wants_upgrade:
            self._allow(ANSWER_WITHIN_S)
            super().on_headers_complete()
            # A trailer is no header: what follows the body is put aside.
            self.headers = []
        elif self.parser.get_method() == b"CONNECT":
            raise ValueError("no tunnels are opened here")

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._has_advanced = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body."""
        self._has_advanced = True
        if not self._wants_upgrade:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless there is more of this one, which nobody will read."""
        super().on_response_complete()
        if self.is_waiting:
            self._has_begun = False
            self._allow(IDLE_S)
            if self.cycle.more_body:
                self.transport.close()

    # The end

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        body = why.encode()
        self.transport.write(
            b"%scontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (STATUS_LINE[status], len(body), body)
        )
        self.transport.close()

    def _make_room(self) -> None:
        """Close the waiting connection whose time is up first; ours is among them, and the last."""
        ours = (each for each in self.connections if isinstance(each, BoundedProtocol))
        first = min((each for each in ours if each.is_waiting), key=lambda each: each.deadline)
        first.transport.abort()
        # It is told of its end a moment later; until then it would be chosen again.
        self.connections.discard(first)

    def _allow(self, seconds: float) -> None:
        self.deadline = self.loop.time() + seconds

    def _look_again(self) -> None:
        at = min(self.deadline, self.loop.time() + _LOOK_EVERY_S)
        self._timer = self.loop.call_at(at, self._look)

    def _look(self) -> None:
        if self.loop.time() >= self.deadline:
            if self.transport.is_closing():  # and its peer does not read what is left to send
                self.transport.abort()
                return
            self.transport.close()
            self._allow(_CLOSE_WITHIN_S)
        self._look_again()
