"""A proxy before the sandbox that answers in its place where a test says so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import httpx

from tests.sandbox.harness import serving


@dataclass
class Doorway:
    """What the proxy does, and the requests that came to it.

    Args:
        url: Its own address.
        before: Gives an answer, as status and body, in place of the service's; else None.
        after: Changes the service's answer. Gives None to lose it, with its connection.
    """

    url: str = ""
    before: Callable[[str, str, bytes], tuple[int, bytes] | None] = lambda *_: None
    after: Callable[[str, str, int, bytes], tuple[int, bytes] | None] = lambda *given: given[2:]
    requests: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def doorway(url: str) -> Iterator[Doorway]:
    """Put a proxy before a service until the block ends."""
    door = Doorway()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on("GET", b"")

        def do_POST(self) -> None:
            self._pass_on("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_args: object) -> None:
            return

        def _pass_on(self, method: str, body: bytes) -> None:
            door.requests.append((method, self.path))
            answer = door.before(method, self.path, body)
            if answer is None:
                wanted = ("Authorization", "Content-Type", "Idempotency-Key")
                headers = {name: self.headers[name] for name in wanted if name in self.headers}
                given = httpx.request(method, url + self.path, content=body, headers=headers)
                answer = door.after(method, self.path, given.status_code, given.content)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

    with serving(Handler) as door.url:
        yield door
