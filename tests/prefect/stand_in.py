"""In place of Prefect's API: a few answers, and a count of what was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    temporary_settings,
)


@dataclass
class StandIn:
    """How often it was asked."""

    requests: int = 0
    connections: int = 0


@contextmanager
def prefect_answers(*answers: tuple[int, Any]) -> Iterator[StandIn]:
    """Let Prefect's client reach a server with these answers; the last one again and again.

    Args:
        answers: HTTP statuses and bodies, as JSON.
    """
    state = StandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            state.connections += 1
            super().setup()

        def _answer(self) -> None:
            status, body = answers[min(state.requests, len(answers) - 1)]
            state.requests += 1
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815  http.server's names

        def log_message(self, *_: object) -> None:
            """Keep the tests' output to themselves."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    given = {
        PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api",
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
    }
    try:
        with temporary_settings(given):
            yield state
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
