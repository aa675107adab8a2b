"""Watch queues of S3's events: each new object is a request within seconds."""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Protocol

from ittybatch.errors import IttybatchError
from ittybatch.intake.declared import Declared, QueueDeclared
from ittybatch.intake.events import WITHOUT_RENDITION, Fate, Sorting
from ittybatch.intake.wanted import NothingToMake, RequestRefused, Wanted
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.sources import SourceError
from ittybatch.sources.sqs import Message, SqsQueue, refuse_loops

if TYPE_CHECKING:
    from concurrent.futures import Future

logger = logging.getLogger(__name__)

# The longest that SQS allows.
_LONG_POLL_S = 20
# Long enough to take and delete messages, and short enough that those of a killed receiver are
# soon seen again.
_VISIBILITY_S = 120
_TAKE_TIMEOUT_S = 60.0
# With a backlog, this many more messages are received at once.
_BACKLOG = 90
_FULL = 10
_FIRST_WAIT_S = 1.0
_MAX_WAIT_S = 15.0
_STOP_S = 1.5


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
        results = await asyncio.gather(
            *(self._intake.take(each, answer_within_s=0) for each in wanted),
            return_exceptions=True,
        )
        return [each if isinstance(each, BaseException) else None for each in results]


_TakeAll = Callable[[Sequence[Wanted]], "Future[list[BaseException | None]]"]


class _Watcher:
    """The thread of one queue."""

    def __init__(
        self,
        queue: QueueDeclared,
        declared: Declared,
        *,
        take_all: _TakeAll,
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
        self._wait_s = min(max(_FIRST_WAIT_S, 2 * self._wait_s), _MAX_WAIT_S)
        self._count({"failed": 1})
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
                if not self._ledger_ready():
                    raise LedgerUnavailable("The ledger does not answer.")
                messages = queue.wait(_LONG_POLL_S)
                if len(messages) == _FULL and not self._stopping.is_set():
                    messages += queue.receive(_BACKLOG, 0)
                if messages:
                    _Round(queue, aside, messages, self._declared, self._take_all).take(
                        self._stopping, self._count
                    )
                self._wait_s = 0.0


class _Round:
    """Messages that were received together.

    Args:
        queue: Their queue.
        aside: Its dead-letter queue.
        messages: The messages.
        declared: Which objects get which jobs.
        take_all: Takes requests, and returns what went wrong with each.
    """

    def __init__(
        self,
        queue: SqsQueue,
        aside: SqsQueue | None,
        messages: Sequence[Message],
        declared: Declared,
        take_all: _TakeAll,
    ) -> None:
        self._queue = queue
        self._aside = aside
        # SQS repeats some messages, and only the newest receipt is valid.
        self._messages = list({each.id: each for each in messages}.values())
        self._declared = declared
        self._take_all = take_all

    def take(self, stopping: threading.Event, count: Callable[[Mapping[str, int]], None]) -> None:
        """Take the objects, then delete the messages that the ledger holds.

        Raises:
            LedgerUnavailable: The ledger cannot take requests now. The messages are visible again.
            SourceError: The messages could not be deleted or put aside; they come again.
        """
        if stopping.is_set():
            self._give_back(self._messages)
            return
        sorting = Sorting(self._declared)
        fates = [sorting.add(number, each.body) for number, each in enumerate(self._messages)]
        wanted = list(sorting.wanted())
        failures = self._failures([each for each, _ in wanted])
        later: set[int] = set()
        reasons: dict[int, str] = {
            number: why for number, fate in enumerate(fates) if (why := _why_aside(fate))
        }
        unavailable: LedgerUnavailable | None = None
        for (each, numbers), failure in zip(wanted, failures, strict=True):
            if failure is None:
                continue
            if isinstance(failure, NothingToMake):
                sorting.left_out[WITHOUT_RENDITION] += 1
            elif isinstance(failure, RequestRefused):
                reasons |= dict.fromkeys(numbers, f"cannot be processed: {failure}")
            elif isinstance(failure, LedgerUnavailable):
                unavailable = failure
                later |= numbers
            else:
                # The message stays hidden for a while, and does not keep others waiting.
                logger.error("%s was not taken.", each.item.shown, exc_info=failure)
                later |= numbers
        self._settle(fates, reasons, later)
        count(self._counts(fates, reasons, later) + sorting.left_out)
        if unavailable is not None:
            self._give_back([self._messages[number] for number in later])
            raise unavailable

    def _failures(self, wanted: Sequence[Wanted]) -> Sequence[BaseException | None]:
        if not wanted:
            return []
        taking = self._take_all(wanted)
        try:
            return taking.result(_TAKE_TIMEOUT_S)
        except (TimeoutError, CancelledError):
            taking.cancel()
            return [LedgerUnavailable("The ledger takes too long.")] * len(wanted)

    def _settle(self, fates: Sequence[Fate], reasons: Mapping[int, str], later: set[int]) -> None:
        done: list[Message] = []
        aside: list[tuple[Message, str]] = []
        for number, message in enumerate(self._messages):
            if number in later or fates[number].undeclared:
                continue
            if number in reasons:
                logger.warning("Message %s %s.", message.id, reasons[number].rstrip("."))
                if self._aside is None:
                    continue
                aside.append((message, reasons[number]))
            done.append(message)
        if aside and self._aside is not None:
            self._aside.put_aside(aside)
        if done:
            self._queue.delete(done)

    def _counts(
        self, fates: Sequence[Fate], reasons: Mapping[int, str], later: set[int]
    ) -> Counter[str]:
        counts: Counter[str] = Counter()
        for number, fate in enumerate(fates):
            if number in later:
                counts["later"] += 1
            elif fate.undeclared or (number in reasons and self._aside is None):
                counts["stayed"] += 1
            else:
                counts["aside" if number in reasons else "taken"] += 1
        return counts

    def _give_back(self, messages: Sequence[Message]) -> None:
        with suppress(SourceError, RuntimeError):
            self._queue.give_back(messages)


def _why_aside(fate: Fate) -> str | None:
    if fate.unreadable:
        return fate.unreadable[-1]
    return f"is left out by `{fate.filtered[-1]}`" if fate.filtered else None
