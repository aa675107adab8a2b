"""A load generator that costs little: requests made beforehand, over connections kept open.

Reads a pickled list of requests from stdin, sends each once, and prints what it saw as JSON.
"""

import asyncio
import json
import pickle
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import uvloop

from bench.servers import HOST

_END_OF_HEADERS = b"\r\n\r\n"
_LENGTH = b"content-length: "


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a number of requests.

    Args:
        per_s: Requests a second.
        p50_ms: Median time to an answer.
        p99_ms: The time within which 99 % of the answers came.
        cpu_us: CPU that the generator itself took for a request, in microseconds.
        statuses: Answers by status; those without the expected text as `STATUS incomplete`.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    statuses: dict[str, int]


def generate(
    port: int,
    connections: int,
    warm: Sequence[bytes],
    sent: Sequence[bytes],
    *,
    expected: bytes = b"",
) -> Load:
    """Send `warm`, then `sent` with the clock running, from a process of its own.

    Args:
        port: The server's port on this machine.
        connections: How many connections send at once.
        warm: Requests that are not measured.
        sent: Requests that are.
        expected: Text that each complete answer has in its body.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", str(port), str(connections)],
        input=pickle.dumps((list(warm), list(sent), expected)),
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    return Load(**json.loads(done.stdout))


def request(path: str, body: bytes, signature: str) -> bytes:
    """One webhook as it goes over the wire."""
    return post(path, body, {"User-Agent": "Ittybit", "Ittybit-Signature": signature})


def post(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """One POST of JSON as it goes over the wire."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nAccept: */*\r\n{lines}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class _Connection(asyncio.Protocol):
    """Sends the next request once the last is answered, until there is none."""

    def __init__(self, requests: Iterator[bytes], seen: "_Seen") -> None:
        self._requests = requests
        self._seen = seen
        self._answer = b""
        self._sent_at = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        content = next(self._requests, None)
        if content is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(content)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(_END_OF_HEADERS)
        if not found:
            return
        length = head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return
        self._seen.latencies_s.append(time.perf_counter() - self._sent_at)
        status = head[9:12].decode()
        self._seen.statuses[status if self._seen.expected in body else f"{status} incomplete"] += 1
        self._answer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._seen.closed(exc)


class _Seen:
    def __init__(self, connections: int, expected: bytes) -> None:
        self.expected = expected
        self.latencies_s: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.over = asyncio.get_running_loop().create_future()
        self._open = connections

    def closed(self, exc: Exception | None) -> None:
        self._open -= 1
        if exc is not None:
            self.statuses["broken"] += 1
        if not self._open:
            self.over.set_result(None)


async def _send(port: int, connections: int, requests: Sequence[bytes], expected: bytes) -> Load:
    loop = asyncio.get_running_loop()
    seen = _Seen(connections, expected)
    left = iter(requests)
    began, cpu_began = time.perf_counter(), time.process_time()
    await asyncio.gather(
        *(
            loop.create_connection(lambda: _Connection(left, seen), HOST, port)
            for _ in range(connections)
        )
    )
    await seen.over
    taken_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    latencies_s = sorted(seen.latencies_s)
    return Load(
        per_s=len(latencies_s) / taken_s,
        p50_ms=latencies_s[len(latencies_s) // 2] * 1000,
        p99_ms=latencies_s[len(latencies_s) * 99 // 100] * 1000,
        cpu_us=cpu_s / len(latencies_s) * 1e6,
        statuses=dict(seen.statuses),
    )


def _main(port: int, connections: int) -> None:
    warm, sent, expected = pickle.load(sys.stdin.buffer)

    async def run() -> Load:
        if warm:
            await _send(port, connections, warm, expected)
        return await _send(port, connections, sent, expected)

    load = uvloop.run(run())
    json.dump({name: getattr(load, name) for name in Load.__slots__}, sys.stdout)


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
