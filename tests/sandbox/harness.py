"""A running sandbox, and the servers around it."""

import hashlib
import hmac
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import orjson

from ittybit_sandbox import SandboxConfig
from ittybit_sandbox import running as run_sandbox
from ittybit_sandbox.media.ffmpeg import ffmpeg_path

KEY = "sandbox-key"
SECRET = "a shared secret"
Json = dict[str, Any]
Found = TypeVar("Found")


def wait_for(look: Callable[[], Found | None], *, within_s: float = 20) -> Found:
    """Look again and again until there is something, and fail when there never is."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {within_s} s: {look}")
        time.sleep(0.02)
    return found


def make_media(path: Path, *arguments: str) -> Path:
    """Make a piece of media with ffmpeg."""
    command = [ffmpeg_path(), "-hide_banner", "-loglevel", "error", "-y", *arguments, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@dataclass
class Received:
    """One webhook as it arrived."""

    path: str
    signature: str | None
    raw: bytes

    @property
    def body(self) -> Json:
        body: Json = orjson.loads(self.raw)
        return body

    def is_signed(self, secret: str = SECRET) -> bool:
        digest = hmac.new(secret.encode(), self.raw, hashlib.sha256).hexdigest()
        return self.signature == digest


@dataclass
class Sink:
    """Receives webhooks; answers with the next of `answers`, or 200 (0 is silence)."""

    answers: list[int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    url: str = ""
    silence_over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def listening(self) -> Iterator[Self]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                sink.received.append(
                    Received(self.path, self.headers.get("Ittybit-Signature"), raw)
                )
                status = sink.answers.pop(0) if sink.answers else 200
                if status == 0:
                    sink.silence_over.wait(10)
                    self.close_connection = True
                    return
                self.send_response(status)
                if status in {301, 302, 307, 308}:
                    self.send_header("Location", f"{sink.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                return

        with serving(Handler) as url:
            sink.url = url
            yield sink
            sink.silence_over.set()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a free port of loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Running:
    """A sandbox that is up, and a client that holds its key."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=20
        )

    def post(self, body: object, key: str | None = None, path: str = "/jobs") -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self.client.post(path, json=body, headers=headers)

    def create(self, **body: object) -> str:
        """Create a job; `key` is its Idempotency-Key, the rest is its body."""
        key = body.pop("key", None)
        body = {"input": "s3://library/clip.mp4", "kind": "video"} | body
        answer = self.post(body, None if key is None else str(key))
        assert answer.status_code in {200, 201}, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> Json:
        answer = self.client.get(f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        body: Json = answer.json()
        return body

    def ended(self, job_id: str) -> Json:
        return wait_for(
            lambda: (
                body if (body := self.job(job_id))["status"] in {"succeeded", "failed"} else None
            )
        )

    def run(self, **body: object) -> Json:
        return self.ended(self.create(**body))

    def summary(self) -> Json:
        body: Json = self.client.get("/_sandbox/summary").json()
        return body

    def all_jobs(self) -> list[Json]:
        body: list[Json] = self.client.get("/_sandbox/jobs").json()
        return body


@contextmanager
def running(**changes: object) -> Iterator[Running]:
    """Run a sandbox on a free port until the block ends."""
    usual = {"port": 0, "webhook_secret": SECRET, "webhook_base_delay_s": 0.02}
    with run_sandbox(SandboxConfig.model_validate(usual | changes)) as started:
        sandbox = Running(started.url)
        try:
            yield sandbox
        finally:
            sandbox.client.close()
