"""Messages of a queue that were received together, from their receipt to their end."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING

from ittybatch.intake.declared import Declared
from ittybatch.intake.events import WITHOUT_RENDITION, Fate, Sorting
from ittybatch.intake.wanted import NothingToMake, RequestRefused, Wanted
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.sources import SourceError
from ittybatch.sources.sqs import Message, SqsQueue

if TYPE_CHECKING:
    from concurrent.futures import Future

logger = logging.getLogger(__name__)

_TAKE_TIMEOUT_S = 60.0

# Takes requests; the future has what went wrong with each, or None.
TakeAll = Callable[[Sequence[Wanted]], "Future[list[BaseException | None]]"]


class Received:
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
        take_all: TakeAll,
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
                continue
            done.append(message)
        # First what the ledger holds: trouble with the other queue must not bring it back.
        if done:
            self._queue.delete(done)
        if aside and self._aside is not None:
            self._aside.put_aside(aside)
            self._queue.delete([message for message, _ in aside])

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
