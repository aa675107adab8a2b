"""A watched queue whose requests a stand-in takes, in place of the ledger."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ittybatch.intake.declared import Declared
from ittybatch.intake.wanted import Wanted
from ittybatch.intake.watching import Watching


class Desk:
    """Takes requests, or fails as a test wants.

    Args:
        failing: Returns the error to raise for a request, or None.
    """

    def __init__(self, failing: Callable[[Wanted], Exception | None] = lambda _: None) -> None:
        self.arrived = 0
        self.taken: list[str] = []
        self.waits: list[float] = []
        self.failing = failing
        self.ready = True
        self.counts: Counter[str] = Counter()
        self.open = threading.Event()
        self.open.set()

    async def take(self, wanted: Wanted, *, answer_within_s: float) -> object:
        self.arrived += 1
        await asyncio.to_thread(self.open.wait)
        if error := self.failing(wanted):
            raise error
        self.waits.append(answer_within_s)
        self.taken.append(wanted.item.key)
        return None

    def count(self, counts: Mapping[str, int]) -> None:
        self.counts.update(counts)


class Watched:
    """Watching that runs. `stop` returns how many seconds stopping took."""

    def __init__(self, loop: asyncio.AbstractEventLoop, watching: Watching) -> None:
        self._loop = loop
        self._watching = watching

    def stop(self) -> float:
        started = time.monotonic()
        asyncio.run_coroutine_threadsafe(self._watching.stop(), self._loop).result(10)
        return time.monotonic() - started


@contextmanager
def watched(desk: Desk, *queues: dict[str, str]) -> Iterator[Watched]:
    """Watch queues until the block ends."""
    declared = Declared.model_validate(
        {
            "buckets": [
                {"bucket": "media", "prefix": "in/", "profile": "web", "suffixes": [".mov"]}
            ],
            "queues": queues,
        }
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    watching = Watching(declared, desk, lambda: desk.ready, count=desk.count)
    asyncio.run_coroutine_threadsafe(watching.start(), loop).result(10)
    running = Watched(loop, watching)
    try:
        yield running
    finally:
        running.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
