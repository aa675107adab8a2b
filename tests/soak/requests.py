"""Requests as impatient clients send them: cut off, repeated, with and without a key."""

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from bench.load import post

CONNECTIONS = 64
HOST = "127.0.0.1"
_RECONNECT_AFTER_S = 0.1
_CUT_WITHIN_S = 0.15
_ANSWER_WITHIN_S = 30.0
_KINDS = (
    ("video", {"format": "mp4", "height": 480}),
    ("image", {"format": "webp", "width": 640}),
    ("audio", {"format": "mp3"}),
)


@dataclass(slots=True)
class Answered:
    """What clients were told.

    Args:
        jobs: The ids of jobs in each 202, by the URL that was sent.
        tasks: Ittybit's ids in these answers, by job.
        without_task: Answers 202 without Ittybit's id.
        statuses: All answers, by status.
        cut: Requests that a client cut off.
        broken: Requests whose connection broke.
        doubled: Requests sent again although they had been answered.
    """

    jobs: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    tasks: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    without_task: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    broken: int = 0
    doubled: int = 0


@dataclass(slots=True)
class _Request:
    """One request, and how its client treats it."""

    number: int
    cut: bool
    twice: bool


class Clients:
    """64 connections that send requests until they are told to stop.

    Args:
        ports: Ports of the receivers; a client takes any of them.
        token: The API's token.
        seed: Decides which requests are cut off, repeated, and sent with a key.
        pause_s: The longest pause of a client between two requests.
    """

    def __init__(self, ports: Sequence[int], token: str, seed: int, pause_s: float) -> None:
        self.seen = Answered()
        self._ports = ports
        self._token = token
        self._seed = seed
        self._pause_s = pause_s
        self._chance = random.Random(f"clients {seed}")
        self._next = 0
        self._again: deque[_Request] = deque()
        self._stopping = False

    def start(self) -> list[asyncio.Task[None]]:
        """Start sending."""
        return [asyncio.create_task(self._send()) for _ in range(CONNECTIONS)]

    def stop(self) -> None:
        """Send nothing new; what has not been answered is sent until it is."""
        self._stopping = True

    def url(self, number: int) -> str:
        """The upload of a request."""
        return f"https://media.example.com/{self._seed}/{number:06}.mov"

    def _take(self) -> _Request | None:
        if self._again:
            return self._again.popleft()
        if self._stopping:
            return None
        self._next += 1
        draw = self._chance.random()
        return _Request(self._next - 1, cut=draw < 0.1, twice=draw > 0.85)

    async def _send(self) -> None:
        while (request := self._take()) is not None:
            try:
                reader, writer = await asyncio.open_connection(
                    HOST, self._chance.choice(self._ports)
                )
            except OSError:
                self._again.append(request)
                await asyncio.sleep(_RECONNECT_AFTER_S)
                continue
            try:
                await self._send_over(reader, writer, request)
            finally:
                writer.close()

    async def _send_over(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: _Request
    ) -> None:
        request: _Request | None = first
        while request is not None:
            try:
                writer.write(self._wire(request.number))
                if request.cut:
                    # The client never learns what came of it, and sends it again.
                    await asyncio.sleep(self._chance.uniform(0, _CUT_WITHIN_S))
                    self.seen.cut += 1
                    self._again.append(_Request(request.number, cut=False, twice=False))
                    return
                async with asyncio.timeout(_ANSWER_WITHIN_S):
                    status, body = await _answer(reader)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                self.seen.broken += 1
                self._again.append(request)
                return
            self._note(request, status, body)
            await asyncio.sleep(self._chance.uniform(0, self._pause_s))
            request = self._take()

    def _wire(self, number: int) -> bytes:
        kind, options = _KINDS[number % len(_KINDS)]
        body = {
            "url": self.url(number),
            "kind": kind,
            "options": options,
            "metadata": {"row": number},
        }
        headers = {"Authorization": f"Bearer {self._token}"}
        if number % 2:
            headers["Idempotency-Key"] = f"{self._seed}-{number}"
        return post("/process", orjson.dumps(body), headers)

    def _note(self, request: _Request, status: str, body: bytes) -> None:
        self.seen.statuses[status] += 1
        if status != "202":
            self._again.append(request)
            return
        answer: dict[str, Any] = orjson.loads(body)
        url = self.url(request.number)
        for job in answer["jobs"]:
            self.seen.jobs[url].append(job["job_id"])
            if job["task_id"] is None:
                self.seen.without_task += 1
            else:
                self.seen.tasks[job["job_id"]].add(job["task_id"])
        if request.twice:
            self.seen.doubled += 1
            self._again.append(_Request(request.number, cut=False, twice=False))


async def _answer(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return head[9:12].decode(), await reader.readexactly(int(length))
