"""An HTTP server that records what is posted to it, and answers as a test says."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says to one request."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The parsed body."""
        parsed: dict[str, Any] = orjson.loads(self.body)
        return parsed


class Address:
    """An address that a sink posts to.

    `answer` says what a request is answered with; by default 200.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Answer] = lambda _: Answer()
        self.url = ""
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def take(self, request: Request) -> Answer:
        """Record a request."""
        with self._lock:
            self.requests.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        answer = self.answer(request)
        time.sleep(answer.after_s)
        with self._lock:
            self._at_once -= 1
        return answer


@contextmanager
def serving() -> Iterator[Address]:
    """Run the server."""
    address = Address()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = address.take(Request(self.path, dict(self.headers.items()), body))
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
            except ConnectionError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    address.url = f"http://127.0.0.1:{server.server_address[1]}/hooks/results"
    yield address
    server.shutdown()
    thread.join()
    server.server_close()
