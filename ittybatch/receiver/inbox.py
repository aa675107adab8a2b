"""Group commit: one commit stores all webhooks that arrived together, before their 200s."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.states import Verdict
from ittybatch.receiver.metrics import Metrics

logger = logging.getLogger(__name__)

MAX_GROUP = 256
_MAX_PENDING = 10_000
# Ittybit waits 5 s for an answer: a 503 within that time is better than a later 200.
_MAX_COMMIT_S = 4.0


class NotStored(IttybatchError):
    """The webhook may not be in the ledger; Ittybit must send it again."""


_Waiting: TypeAlias = tuple[Arrival, asyncio.Future[Verdict]]


class Inbox:
    """One writer that commits whatever has arrived since its last commit.

    Args:
        ledger: Stores the deliveries.
        metrics: Counts every group.
        on_settled: Called after each commit that changed a job. It must return at once.
    """

    def __init__(
        self, ledger: Ledger, metrics: Metrics, on_settled: Callable[[], None] = lambda: None
    ) -> None:
        self._on_settled = on_settled
        self._ledger = ledger
        self._metrics = metrics
        self._pending: list[_Waiting] = []
        metrics.count_uncommitted(lambda: len(self._pending))
        self._arrived = asyncio.Event()
        # One thread: SQLite has one writer, and on Postgres groups commit one after another.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inbox")
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Start committing."""
        self._task = asyncio.create_task(self._commit_groups())

    async def stop(self) -> None:
        """Commit everything that has arrived, then stop."""
        self._closing = True
        self._arrived.set()
        if self._task:
            await self._task
        self._thread.shutdown(wait=True)

    async def store(self, arrival: Arrival) -> Verdict:
        """Store one webhook; returns after its commit.

        Raises:
            NotStored: The database was too slow, or too many webhooks wait already.
        """
        if len(self._pending) >= _MAX_PENDING:
            raise NotStored("Too many webhooks are waiting for the database.")
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._pending.append((arrival, future))
        self._arrived.set()
        return await future

    async def _commit_groups(self) -> None:
        while self._pending or not self._closing:
            await self._arrived.wait()
            self._arrived.clear()
            await asyncio.sleep(0)  # requests that are already here join the same group
            while group := self._pending[:MAX_GROUP]:
                del self._pending[: len(group)]
                await self._commit_group(group)

    async def _commit_group(self, group: Sequence[_Waiting]) -> None:
        arrivals = [arrival for arrival, _ in group]
        commit = asyncio.create_task(self._commit(arrivals))
        while not (await asyncio.wait({commit}, timeout=_MAX_COMMIT_S))[0]:
            # The commit may still succeed; a webhook that is sent again is then a duplicate.
            _fail([*group, *self._pending], "The database takes too long.")
            self._pending.clear()
        try:
            verdicts = commit.result()
        except LedgerUnavailable as error:
            # Webhooks that arrived meanwhile would wait as long and fail, too.
            not_stored = [*group, *self._pending]
            self._pending.clear()
            logger.warning("%d webhooks were not stored: %s", len(not_stored), error)
            _fail(not_stored, str(error))
            return
        self._metrics.stored(verdict for verdict in verdicts if verdict is not None)
        if Verdict.APPLIED in verdicts:
            self._on_settled()
        for (_, future), verdict in zip(group, verdicts, strict=True):
            if verdict is None:
                _fail([(_, future)], "It could not be stored.")
            elif not future.done():  # otherwise the sender has disconnected
                future.set_result(verdict)

    async def _commit(self, arrivals: Sequence[Arrival]) -> Sequence[Verdict | None]:
        started = time.perf_counter()
        try:
            return await self._ledger.write_from_loop(self._thread, receive, arrivals)
        except LedgerUnavailable:
            raise
        except Exception:  # one webhook breaks the group: the others must not fail with it
            logger.exception("Storing a group of %d webhooks one by one.", len(arrivals))
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, lambda: [self._commit_alone(arrival) for arrival in arrivals]
            )
        finally:
            self._metrics.committed(len(arrivals), time.perf_counter() - started)

    def _commit_alone(self, arrival: Arrival) -> Verdict | None:
        for version in (arrival, Arrival(arrival.body, None)):
            try:
                return self._ledger.write(receive, [version])[0]
            except LedgerUnavailable:
                return None
            except Exception as error:  # noqa: BLE001 - affects one webhook only
                logger.warning("A signed webhook could not be applied (%s).", type(error).__name__)
        return None


def _fail(waiting: Sequence[_Waiting], why: str) -> None:
    for _, future in waiting:
        if not future.done():
            future.set_exception(NotStored(why))
