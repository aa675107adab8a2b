"""A look at each output: there, as large as told, of its format; and never in anybody's way."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ittybatch.engine.reporting import report_output, write_report
from ittybatch.engine.reports.checks import AT_ONCE, OutputChecks
from ittybatch.engine.reports.forms import ReportFormat
from ittybatch.engine.reports.signs import fits, sign_of
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.results import result_pages
from tests.engine.reports import checked, mixed_batch, output, settled_batch, written

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MP4 = b"\0\0\0\x20ftypisom" + b"\0" * 988
WEBP = b"RIFF\xe0\x03\0\0WEBPVP8 " + b"\0" * 984
PAGE = b"<!doctype html><title>Not found</title>".ljust(1000)


class Cdn:
    """Serves outputs, and counts what it is asked.

    `ranges` is whether it gives parts; `silent` whether it answers at all.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/a.mp4": MP4, "/a.webp": WEBP, "/page": PAGE, "/0": b""}
        self.redirects = {"/moved": "/a.mp4", "/round": "/round", "/out": "http://192.0.2.1/a.mp4"}
        self.ranges = True
        self.status = 0
        self.asked: list[str] = []
        self.most_at_once = 0
        self.url = ""
        self._lock = threading.Lock()
        self._now = 0

    @contextmanager
    def one_more(self, path: str) -> Iterator[None]:
        """Count a request while it is answered."""
        with self._lock:
            self.asked.append(path)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cdn: Cdn

    def do_GET(self) -> None:
        with self.cdn.one_more(self.path):
            self._answer()

    def _answer(self) -> None:
        assert self.headers["accept-encoding"] == "identity"
        cdn, whole = self.cdn, self.cdn.files.get(self.path)
        if cdn.status:
            self._send(cdn.status)
        elif target := cdn.redirects.get(self.path):
            self._send(302, location=target)
        elif whole is None:
            self._send(404, b"gone")
        elif not cdn.ranges:
            self._send(200, whole)
        elif not whole:
            self._send(416)
        else:
            self._send(206, whole[:64], **{"content-range": f"bytes 0-63/{len(whole)}"})

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def cdn() -> Iterator[Cdn]:
    """A web server of the test's own."""
    served = Cdn()
    handler = type("Handler", (_Handler,), {"cdn": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """One database is enough where the ledger has no part in it."""
    opened = Ledger(create_ledger_engine(sqlite_url))
    yield opened
    opened.close()


def found(ledger: Ledger, batch: str) -> dict[str, str | None]:
    """What a look at each output came to, by its item's name."""
    with OutputChecks() as checks:
        rows = [row for page in result_pages(ledger, batch) for row in checks.check(page)]
    return {row.input.removeprefix("s3://media/"): row.check for row in rows}


@pytest.mark.parametrize("ranges", [True, False])
def test_each_output_is_looked_at(ledger: Ledger, cdn: Cdn, ranges: bool) -> None:
    """By its first bytes, whether the server gives parts or only the whole."""
    cdn.ranges = ranges
    outputs = {
        "good": output(f"{cdn.url}/a.mp4"),
        "picture": output(f"{cdn.url}/a.webp", "webp"),
        "moved": output(f"{cdn.url}/moved"),
        "gone": output(f"{cdn.url}/b.mp4"),
        "empty": output(f"{cdn.url}/0"),
        "short": output(f"{cdn.url}/a.mp4", size_bytes=1001),
        "size untold": output(f"{cdn.url}/a.mp4", size_bytes=None),
        "other format": output(f"{cdn.url}/a.webp"),
        "error page": output(f"{cdn.url}/page"),
        "unheard-of format": output(f"{cdn.url}/page", "holo"),
        "round and round": output(f"{cdn.url}/round"),
    }
    assert found(ledger, settled_batch(ledger, outputs)) == {
        "good": "ok",
        "picture": "ok",
        "moved": "ok",
        "gone": "missing",
        "empty": "wrong_size",
        "short": "wrong_size",
        "size untold": "ok",
        "other format": "wrong_format",
        "error page": "wrong_format",
        "unheard-of format": "ok",
        "round and round": "unknown",
    }


def test_the_asked_format_outranks_the_told_one(ledger: Ledger, cdn: Cdn) -> None:
    """An output that is not what was asked for is wrong even where Ittybit says so itself."""
    outputs = {"a": output(f"{cdn.url}/a.webp", "webp")}
    batch = settled_batch(ledger, outputs, options={"format": "mp4"})
    assert found(ledger, batch) == {"a": "wrong_format"}


def test_only_what_succeeded_is_looked_at(ledger: Ledger) -> None:
    """Other jobs have no output."""
    assert set(checked(ledger, mixed_batch(ledger)).tally.checks) == {"unknown"}


def test_addresses_that_could_lead_elsewhere_are_not_asked(ledger: Ledger, cdn: Cdn) -> None:
    """Plain HTTP reaches this machine alone, by redirect too; files and nonsense nothing."""
    urls = ["http://192.0.2.1/a", f"{cdn.url}/out", "file:///etc/passwd", "http://[", "https://"]
    outputs = {str(number): output(url) for number, url in enumerate(urls)}
    assert set(found(ledger, settled_batch(ledger, outputs)).values()) == {"unknown"}
    assert cdn.asked == ["/out", "/out"]


def test_a_server_in_trouble_proves_nothing_and_is_left_alone(ledger: Ledger, cdn: Cdn) -> None:
    """After some tries in a row it is not asked again: a report has to end."""
    cdn.status = 503
    outputs = {f"{number}": output(f"{cdn.url}/a.mp4") for number in range(100)}
    batch = settled_batch(ledger, outputs)
    assert checked(ledger, batch).tally.checks == {"unknown": 100}
    assert len(cdn.asked) < 120
    assert cdn.most_at_once <= AT_ONCE


def test_outputs_in_a_bucket_are_looked_at_there(
    ledger: Ledger, s3: "S3Client", bucket: str
) -> None:
    """With the credentials that the bucket is listed with."""
    s3.put_object(Bucket=bucket, Key="a.mp4", Body=MP4)
    s3.put_object(Bucket=bucket, Key="empty.mp4", Body=b"")
    outputs = {
        "good": output(f"s3://{bucket}/a.mp4"),
        "gone": output(f"s3://{bucket}/b.mp4"),
        "empty": output(f"s3://{bucket}/empty.mp4"),
        "nonsense": output("s3://B/a"),
    }
    assert found(ledger, settled_batch(ledger, outputs)) == {
        "good": "ok",
        "gone": "missing",
        "empty": "wrong_size",
        "nonsense": "unknown",
    }


def test_what_was_seen_is_a_column_and_is_counted(ledger: Ledger, cdn: Cdn, tmp_path: Path) -> None:
    """In the report that asked for it, and in no other."""
    batch = settled_batch(ledger, {"a": output(f"{cdn.url}/a.mp4"), "b": output(f"{cdn.url}/b")})
    place = tmp_path / "report.json"
    wish = report_output(ledger, batch, ReportFormat.JSON, str(place))
    done = write_report(ledger, batch, [wish], check_outputs=True)
    assert done.tally.checks == {"ok": 1, "missing": 1}
    text = place.read_text()
    assert '"checks":{"ok":1,"missing":1}' in text
    assert '"check":"missing"' in text
    assert b'"check' not in written(ledger, batch, ReportFormat.JSON)


@pytest.mark.parametrize(
    ("beginning", "sign"),
    [
        (MP4, "mp4"),
        (b"\0\0\0\x14ftypqt  ", "mp4"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "mp4"),
        (b"\0\0\0\x1cftypavif", "avif"),
        (b"\x1aE\xdf\xa3\x9fB\x86", "matroska"),
        (b"ID3\x04", "mp3"),
        (b"\xff\xfb\x90\x00", "mp3"),
        (b"\xff\xf1\x50\x80", "aac"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"GIF89a", "gif"),
        (WEBP, "webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", "wav"),
        (b"OggS", "ogg"),
        (b"fLaC", "flac"),
        (b"#EXTM3U\n", "hls"),
        (b"<!doctype", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_a_file_is_known_by_its_beginning(beginning: bytes, sign: str | None) -> None:
    """As the formats' own specifications have it."""
    assert sign_of(beginning) == sign


def test_a_container_does_not_tell_what_is_in_it() -> None:
    """AAC comes bare or in MP4, Opus in Ogg or WebM."""
    assert fits(MP4, "aac")
    assert fits(b"\xff\xf1\x50\x80", "AAC")
    assert fits(b"\x1aE\xdf\xa3", "opus")
    assert fits(b"OggS", "mp4") is False
    assert fits(b"OggS", "unheard-of") is None
