"""One limit of time for many pieces of work at once, with one timer for all of them.

`asyncio.timeout` sets a timer for each, which takes a tenth of the time that a request takes.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadline:
    """Cancels what takes longer than `limit_s` seconds; made inside the event loop it is for."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        # In the order of their beginning, and so of their end: the limit is one for all.
        self._ends: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Stop the timer; what still runs has no limit from here on."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that is not itself under this deadline.

        Raises:
            TimeoutError: The limit was reached, and the work was cancelled.
        """
        task = asyncio.current_task(self._loop)
        if task is None:  # pragma: no cover - a coroutine always runs in a task
            raise RuntimeError("A deadline needs a task to cancel.")
        cancelled_before = task.cancelling()
        end = self._ends[task] = self._loop.time() + self._limit_s
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._expire)
        try:
            return await work
        except asyncio.CancelledError:
            # Somebody else's cancellation outranks ours.
            if task in self._expired and task.cancelling() - 1 <= cancelled_before:
                raise TimeoutError from None
            raise
        finally:
            self._ends.pop(task, None)
            if task in self._expired:
                self._expired.remove(task)
                task.uncancel()

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for task, end in list(self._ends.items()):
            if end > now:
                self._timer = self._loop.call_at(end, self._expire)
                return
            del self._ends[task]
            self._expired.add(task)
            task.cancel()
