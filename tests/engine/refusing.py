"""A proxy before Prefect that refuses some requests, as an ingress rule or a role does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


@contextmanager
def refusing(upstream: str, path: str, status: int) -> Iterator[str]:
    """Serve what `upstream` serves, but answer `status` to a POST to `path`; gives the URL."""

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if self.command == "POST" and self.path.rstrip("/").endswith(path):
                answer = httpx.Response(status, json={"detail": "not with this role"})
            else:
                kept = {"content-type", "x-prefect-api-version"}
                headers = {k: v for k, v in self.headers.items() if k.lower() in kept}
                url = httpx.URL(upstream).join(self.path)
                answer = httpx.request(self.command, url, content=body, headers=headers)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_DELETE = do_PATCH = _pass_on  # noqa: N815  http.server's names

        def log_message(self, *_: object) -> None:
            """Keep the tests' output to themselves."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
