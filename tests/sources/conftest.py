"""A real web server on this machine."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore.config import Config

from ittybatch.sources import s3
from tests.sources.store import Answered, Store, entry, listing, serving


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return tmp_path / "items.csv"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store of one object; the environment names it."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    with serving(lambda _: Answered(listing(entry("a.mov")))) as found:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        once = s3._LIMITS.merge(Config(retries={"total_max_attempts": 1}))
        monkeypatch.setattr(s3, "_LIMITS", once)
        yield found


class Site:
    """What the web server has and how it misbehaves.

    `cut` is how many answers to come break off after half of what they promised; `failures` are
    the statuses of the answers to come, and `headers` go with every answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.content = b""
        self.etag = '"1"'
        self.cut = 0
        self.status = 200
        self.ranges = True
        self.failures: list[int] = []
        self.headers: dict[str, str] = {}
        self.asked: list[str | None] = []
        self.matches: list[str | None] = []


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server with one file, at any path but `/redirect` and `/loop`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    found = Site(f"http://127.0.0.1:{server.server_address[1]}")
    _Handler.site = found
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.asked.append(self.headers["Range"])
        site.matches.append(self.headers["If-Match"])
        if self.path.startswith(("/redirect", "/loop", "/away")):
            to = {"/r": "/file.csv", "/l": "/loop", "/a": "http://192.0.2.1/file.csv"}
            self.send_response(302)
            self.send_header("Location", to[self.path[:2]])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        status = site.failures.pop(0) if site.failures else site.status
        if status != 200:
            self.send_response(status)
            for name, value in site.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if (match := self.headers["If-Match"]) and match != site.etag:
            self.send_error(412)
            return
        self._send_file(site)

    def _send_file(self, site: Site) -> None:
        start = 0
        if site.ranges and (wanted := self.headers["Range"]):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(site.content) > 0 and start:
            self.send_error(416)
            return
        body = site.content[start:]
        self.send_response(206 if start else 200)
        if start:
            last, total = len(site.content) - 1, len(site.content)
            self.send_header("Content-Range", f"bytes {start}-{last}/{total}")
        self.send_header("ETag", site.etag)
        for name, value in site.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if site.cut:
            site.cut -= 1
            body = body[: max(len(body) // 2, 64)]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        del format, args
