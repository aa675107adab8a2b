"""Group commit: webhooks that arrive together are kept by one commit, each before its 200."""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.states import Verdict
from ittybatch.receiver.metrics import Metrics

logger = logging.getLogger(__name__)

LARGEST_GROUP = 256
_MOST_PENDING = 10_000
# Ittybit waits 5 s for an answer: a 503 in time is worth more than a late 200.
_LONGEST_COMMIT_S = 4.0


class NotKept(IttybatchError):
    """A webhook that may not be in the ledger. Its sender is to send it again."""


_Waiting: TypeAlias = tuple[Arrival, asyncio.Future[Verdict]]


class Inbox:
    """One writer that commits whatever has arrived since its last commit.

    Args:
        ledger: Where deliveries are kept.
        metrics: Told of every group.
    """

    def __init__(self, ledger: Ledger, metrics: Metrics) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._pending: list[_Waiting] = []
        self._arrived = asyncio.Event()
        # One thread: SQLite has one writer, and on Postgres one group follows another.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inbox")
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Begin to commit."""
        self._task = asyncio.create_task(self._commit_groups())

    async def stop(self) -> None:
        """Commit what has arrived, then end."""
        self._closing = True
        self._arrived.set()
        if self._task:
            await self._task
        self._thread.shutdown(wait=True)

    async def keep(self, arrival: Arrival) -> Verdict:
        """Keep one webhook; returns once it is committed.

        Raises:
            NotKept: when the database did not take it in time, or too many wait already.
        """
        if len(self._pending) >= _MOST_PENDING:
            raise NotKept("Too many webhooks wait for the database.")
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._pending.append((arrival, future))
        self._arrived.set()
        return await future

    async def _commit_groups(self) -> None:
        while self._pending or not self._closing:
            await self._arrived.wait()
            self._arrived.clear()
            await asyncio.sleep(0)  # those whose requests have come too are in the same group
            while group := self._pending[:LARGEST_GROUP]:
                del self._pending[: len(group)]
                await self._commit_group(group)

    async def _commit_group(self, group: Sequence[_Waiting]) -> None:
        arrivals = [arrival for arrival, _ in group]
        commit = asyncio.create_task(self._commit(arrivals))
        while not (await asyncio.wait({commit}, timeout=_LONGEST_COMMIT_S))[0]:
            # The commit may still succeed; what is sent again then counts as a duplicate.
            _fail([*group, *self._pending], "The database takes too long.")
            self._pending.clear()
        try:
            verdicts = commit.result()
        except LedgerUnavailable as error:
            # Those that came meanwhile would wait as long, and to the same end.
            unkept = [*group, *self._pending]
            self._pending.clear()
            logger.warning("%d webhooks were not kept: %s", len(unkept), error)
            _fail(unkept, str(error))
            return
        self._metrics.kept(verdict for verdict in verdicts if verdict is not None)
        for (_, future), verdict in zip(group, verdicts, strict=True):
            if verdict is None:
                _fail([(_, future)], "It could not be stored.")
            elif not future.done():  # else its sender has gone; it is kept all the same
                future.set_result(verdict)

    async def _commit(self, arrivals: Sequence[Arrival]) -> Sequence[Verdict | None]:
        began = time.perf_counter()
        try:
            return await self._ledger.write_from_loop(self._thread, receive, arrivals)
        except LedgerUnavailable:
            raise
        except Exception:  # one cannot be stored as it was read: the others must not suffer for it
            logger.exception("A group of %d webhooks is kept one by one.", len(arrivals))
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, lambda: [self._commit_alone(arrival) for arrival in arrivals]
            )
        finally:
            self._metrics.committed(len(arrivals), time.perf_counter() - began)

    def _commit_alone(self, arrival: Arrival) -> Verdict | None:
        for version in (arrival, Arrival(arrival.body, None)):
            try:
                return self._ledger.write(receive, [version])[0]
            except LedgerUnavailable:
                return None
            except Exception as error:  # noqa: BLE001  whatever it holds, it is one webhook
                logger.warning("A signed webhook could not be applied (%s).", type(error).__name__)
        return None


def _fail(waiting: Sequence[_Waiting], why: str) -> None:
    for _, future in waiting:
        if not future.done():
            future.set_exception(NotKept(why))
