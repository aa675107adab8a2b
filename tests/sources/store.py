"""A store that answers with prepared bytes: what no real server of S3 can be made to say."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


# Instead of a status: the connection ends without an answer.
BROKEN = 0


class Asked(NamedTuple):
    """A request: its path, its query's first values by name, and its headers."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def quickly(self) -> bool:
        """Whether it came through a signed URL, not through boto3."""
        return "X-Amz-Signature" in self.query


class Answered(NamedTuple):
    """What the store answers. If `cut`, the connection ends in the middle of it."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    cut: bool = False


Answer = Callable[[Asked], Answered]


class Store:
    """A store at `url`, which keeps what it was asked in `asked`.

    Args:
        url: Where it listens.
        answer: Makes its answers; a test may replace it.
    """

    def __init__(self, url: str, answer: Answer) -> None:
        self.url = url
        self.answer = answer
        self.asked: list[Asked] = []


@contextmanager
def serving(answer: Answer) -> Iterator[Store]:
    """Run a store for as long as the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    store = Store(f"http://127.0.0.1:{server.server_address[1]}", answer)
    server.store = store  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def listing(*contents: str, more: bool = False, extra: str = "") -> bytes:
    """An answer to ListObjectsV2 as AWS writes it."""
    return (
        f'{HEAD}\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>media</Name><Prefix></Prefix><KeyCount>{len(contents)}</KeyCount>"
        f"<MaxKeys>1000</MaxKeys>{extra}<IsTruncated>{str(more).lower()}</IsTruncated>"
        f"{''.join(contents)}</ListBucketResult>"
    ).encode()


def entry(key: str, etag: str = '"e1"', size: int = 5, more: str = "") -> str:
    """An object of a listing."""
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
        f"<ETag>{etag}</ETag><Size>{size}</Size>{more}</Contents>"
    )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        # Of a bucket, or of an object.
        asked = urlsplit(self.path).path.count("/") > 1
        self._reply(self._answer() if asked else Answered(b""))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._reply(self._answer())

    def do_GET(self) -> None:
        self._reply(self._answer())

    def _answer(self) -> Answered:
        store: Store = self.server.store  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        asked = Asked(parts.path, query, {k.lower(): v for k, v in self.headers.items()})
        store.asked.append(asked)
        return Answered(listing()) if "delimiter" in query else store.answer(asked)

    def _reply(self, answered: Answered) -> None:
        if answered.status == BROKEN:
            self.close_connection = True
            return
        self.send_response(answered.status)
        for name, value in answered.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answered.body)))
        self.end_headers()
        if self.command != "HEAD":
            body = answered.body
            self.wfile.write(body[: len(body) // 2] if answered.cut else body)
            self.close_connection = answered.cut

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        del format, args
