"""An API on a loopback port that answers as a test tells it to, and keeps what it was sent."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from ittybatch.ittybit.client import IttybitClient

KEY = "ittybit_live_0123456789abcdef"
IDEMPOTENCY_KEY = "0123456789abcdef0123456789abcdef"
JOB: dict[str, Any] = {"id": "job_abc123", "object": "job", "kind": "video", "status": "queued"}


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON is anything
        return orjson.loads(self.body)

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


DROP = b""
"""In place of a reply: close the connection without one."""

TRUNCATED = b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{"
"""A reply that breaks off."""

HANG = b"hang"
"""In place of a reply: never answer."""


def reply(
    status: int,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass
class Api:
    """Gives the replies in turn, the last one for ever."""

    replies: list[bytes]
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    tasks: list[asyncio.Task[Any] | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **given: Any) -> IttybitClient:  # noqa: ANN401 - its own arguments
        settings = {"timeout_s": 5, "retry_wait_initial_s": 0.01, "retry_wait_cap_s": 0.02}
        return IttybitClient(KEY, base_url=self.url, **(settings | given))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        self.tasks.append(asyncio.current_task())
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.seen.append(Seen(method, target, headers, body))
        self.arrived.set()
        answer = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if answer == HANG:
            await reader.read()
            return False
        writer.write(answer)
        await writer.drain()
        return answer.startswith(b"HTTP/1.1") and answer != TRUNCATED


@asynccontextmanager
async def api(*replies: bytes, port: int = 0) -> AsyncIterator[Api]:
    answering = Api(list(replies))
    server = await asyncio.start_server(answering.serve, "127.0.0.1", port)
    answering.port = server.sockets[0].getsockname()[1]
    try:
        yield answering
    finally:
        server.close()
        for writer in answering.writers:
            writer.close()
        await asyncio.wait_for(_ended(answering.tasks), 5)


async def _ended(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    for task in tasks:
        if task is not None:
            await task


def submission(**given: object) -> dict[str, Any]:
    """The arguments of a submission, some of them changed."""
    arguments: dict[str, Any] = {
        "input": "s3://my-media-bucket/uploads/video.mov",
        "kind": "video",
        "options": {"format": "mp4", "quality": "high", "width": 1920},
        "metadata": {"source_bucket": "my-media-bucket"},
        "idempotency_key": IDEMPOTENCY_KEY,
    }
    return arguments | given


def pages(*ids: Iterable[str]) -> list[bytes]:
    return [reply(200, [{**JOB, "id": job_id} for job_id in page]) for page in ids]
