"""A report is sent while it is written: a slow client holds it up, one that leaves ends it."""

import threading
from typing import IO

import anyio
import pytest
from anyio import CapacityLimiter

from ittybatch.page.pipe import Pipe

PART = b"x" * 50_000


def test_everything_written_arrives_in_order_and_little_is_held() -> None:
    """The writer waits as long as the client does."""
    written = []

    def write(stream: IO[bytes]) -> None:
        for number in range(100):
            stream.write(bytes([number]) * 50_000)
            written.append(stream.tell())

    async def read() -> tuple[bytes, int]:
        parts, ahead = [], 0
        async for part in Pipe().sent(write, CapacityLimiter(1)):
            await anyio.sleep(0.001)
            parts.append(part)
            ahead = max(ahead, len(written) * 50_000 - sum(map(len, parts)))
        return b"".join(parts), ahead

    found, ahead = anyio.run(read)
    assert found == b"".join(bytes([number]) * 50_000 for number in range(100))
    assert written[-1] == len(found)
    assert ahead < 2_000_000


def test_a_client_that_leaves_ends_the_writer() -> None:
    """Otherwise its thread and its connection would never be free again."""
    ended = threading.Event()

    def write(stream: IO[bytes]) -> None:
        try:
            while True:
                stream.write(PART)
        finally:
            ended.set()

    async def leave() -> None:
        parts = Pipe().sent(write, CapacityLimiter(1))
        assert await anext(parts)
        await parts.aclose()

    anyio.run(leave)
    assert ended.wait(10)


def test_a_report_that_fails_is_not_taken_for_a_whole_one() -> None:
    """The error ends the answer, so that the browser says that the download failed."""

    def write(stream: IO[bytes]) -> None:
        stream.write(b"begun")
        raise OSError("the ledger is gone")

    async def read() -> None:
        async for _ in Pipe().sent(write, CapacityLimiter(1)):
            pass

    with pytest.raises(OSError, match="the ledger is gone"):
        anyio.run(read)
