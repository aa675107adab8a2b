"""Watch queues of S3's events: each new object is a request within seconds."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from ittybatch.errors import IttybatchError
from ittybatch.intake.declared import Declared, QueueDeclared
from ittybatch.intake.received import Received, TakeAll
from ittybatch.intake.wanted import Wanted
from ittybatch.ittybit.redaction import without_secrets
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.sources.sqs import SqsQueue, refuse_loops

if TYPE_CHECKING:
    from concurrent.futures import Future

logger = logging.getLogger(__name__)

# The longest that SQS allows.
_LONG_POLL_S = 20
# Long enough to take and delete messages, and short enough that those of a killed receiver are
# soon seen again.
_VISIBILITY_S = 120
# With a backlog, this many more messages are received at once.
_BACKLOG = 90
_FULL = 10
# The intake refuses requests when too many wait; a message may hold thousands of records.
_AT_ONCE = 1000
_FIRST_WAIT_S = 1.0
_MAX_WAIT_S = 15.0
_STOP_S = 1.5
# Of the counts of received messages: those that were not taken.
_LEFT = ("aside", "later", "stayed")
# How long the ledger counts as ready after it was asked.
_READY_S = 1.0


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """A watched queue, as this process knows it.

    Args:
        url: The queue.
        answered_at: When it last answered; None if it never did.
        taken: Messages that were taken since the process began.
        left: Messages that were put aside, or left for later.
        problem: Why it cannot be watched now; None if it can.
    """

    url: str
    answered_at: datetime | None = None
    taken: int = 0
    left: int = 0
    problem: str | None = None


class Takes(Protocol):
    """What takes requests: `Intake`."""

    async def take(self, wanted: Wanted, *, answer_within_s: float) -> object:
        """Commit a request to the ledger."""


class Watching:
    """Watches the declared queues, each in a thread of its own.

    Args:
        declared: The queues, and which objects get which jobs.
        intake: Takes the requests.
        ledger_ready: Returns whether the ledger answers; called from the threads.
        count: Is given how many messages were taken, put aside or left, and how many objects
            each rule left out; called from the threads.
    """

    def __init__(
        self,
        declared: Declared,
        intake: Takes,
        ledger_ready: Callable[[], bool],
        *,
        count: Callable[[Mapping[str, int]], None] = lambda _: None,
    ) -> None:
        self._declared = declared
        self._intake = intake
        self._ledger_ready = ledger_ready
        self._count = count
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._watchers: list[_Watcher] = []

    def statuses(self) -> list[QueueStatus]:
        """The watched queues, as this process knows them."""
        return [watcher.status for watcher in self._watchers]

    async def start(self) -> None:
        """Start watching. Does nothing if no queue is declared."""
        loop = asyncio.get_running_loop()

        def take_all(wanted: Sequence[Wanted]) -> "Future[list[BaseException | None]]":
            return asyncio.run_coroutine_threadsafe(self._take_all(wanted), loop)

        for queue in self._declared.queues:
            watcher = _Watcher(
                queue,
                self._declared,
                take_all=take_all,
                ledger_ready=self._ledger_ready,
                count=self._count,
                stopping=self._stopping,
            )
            self._watchers.append(watcher)
            # A long poll cannot be interrupted, and must not keep the process from ending.
            thread = threading.Thread(target=watcher.run, name="queue-watcher", daemon=True)
            thread.start()
            self._threads.append(thread)

    async def stop(self) -> None:
        """Stop within two seconds. What was received and not taken returns to its queue."""
        self._stopping.set()
        deadline = time.monotonic() + _STOP_S
        for thread in self._threads:
            # Not here: the thread may wait for a request that this event loop takes.
            await asyncio.to_thread(thread.join, max(0.0, deadline - time.monotonic()))

    async def _take_all(self, wanted: Sequence[Wanted]) -> list[BaseException | None]:
        results: list[object] = []
        for start in range(0, len(wanted), _AT_ONCE):
            results += await asyncio.gather(
                *(
                    self._intake.take(each, answer_within_s=0)
                    for each in wanted[start : start + _AT_ONCE]
                ),
                return_exceptions=True,
            )
        return [each if isinstance(each, BaseException) else None for each in results]


class _Watcher:
    """The thread of one queue."""

    def __init__(
        self,
        queue: QueueDeclared,
        declared: Declared,
        *,
        take_all: TakeAll,
        ledger_ready: Callable[[], bool],
        count: Callable[[Mapping[str, int]], None],
        stopping: threading.Event,
    ) -> None:
        self._declared_queue = queue
        self._declared = declared
        self._take_all = take_all
        self._ledger_ready = ledger_ready
        self._count = count
        self._stopping = stopping
        self._wait_s = 0.0
        self._ready_until = 0.0
        self.status = QueueStatus(without_secrets(queue.queue_url))

    def run(self) -> None:
        """Watch until `stopping` is set, whatever happens."""
        while not self._stopping.wait(self._wait_s):
            try:
                self._watch()
            except IttybatchError as error:
                self._back_off(str(error))
            except Exception as error:  # the thread must survive any error of one round
                logger.exception("Watching %s failed.", self._declared_queue.queue_url)
                self._back_off(type(error).__name__)

    def _back_off(self, why: str) -> None:
        self._ready_until = 0.0
        self._wait_s = min(max(_FIRST_WAIT_S, 2 * self._wait_s), _MAX_WAIT_S)
        self._count({"failed": 1})
        self.status = replace(self.status, problem=without_secrets(why))
        logger.warning(
            "The queue %s is tried again in %.0f s: %s",
            self._declared_queue.queue_url,
            self._wait_s,
            why,
        )

    def _watch(self) -> None:
        with ExitStack() as stack:
            queue = stack.enter_context(
                closing(SqsQueue(self._declared_queue.queue_url, visibility_s=_VISIBILITY_S))
            )
            aside = None
            if (url := self._declared_queue.dead_letter_url) is not None:
                aside = stack.enter_context(closing(SqsQueue(url)))
            refuse_loops(queue, aside)
            while not self._stopping.is_set():
                # Each receipt counts for the redrive policy, so messages stay where they are
                # while they cannot be taken.
                self._require_ledger()
                messages = queue.wait(_LONG_POLL_S)
                self.status = replace(self.status, answered_at=datetime.now(UTC), problem=None)
                if len(messages) == _FULL and not self._stopping.is_set():
                    messages += queue.receive(_BACKLOG, 0)
                if messages:
                    Received(queue, aside, messages, self._declared, self._take_all).take(
                        self._stopping, self._count_messages
                    )
                self._wait_s = 0.0

    def _count_messages(self, counts: Mapping[str, int]) -> None:
        taken = counts.get("taken", 0)
        left = sum(counts.get(each, 0) for each in _LEFT)
        self.status = replace(
            self.status, taken=self.status.taken + taken, left=self.status.left + left
        )
        self._count(counts)

    def _require_ledger(self) -> None:
        now = time.monotonic()
        if now < self._ready_until:
            return
        if not self._ledger_ready():
            raise LedgerUnavailable("The ledger does not answer.")
        self._ready_until = now + _READY_S
