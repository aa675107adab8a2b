"""Group commit: webhooks that arrive together are kept by one commit, each before its 200."""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import SQLAlchemyError

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.states import Verdict
from ittybatch.receiver.metrics import Metrics

logger = logging.getLogger(__name__)

LARGEST_GROUP = 256
_MOST_PENDING = 10_000


class InboxFull(IttybatchError):
    """More webhooks wait for the database than are worth holding in memory."""


class Inbox:
    """One writer that commits whatever has arrived since its last commit.

    Args:
        ledger: Where deliveries are kept.
        metrics: Told of every group.
    """

    def __init__(self, ledger: Ledger, metrics: Metrics) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._pending: list[tuple[Arrival, asyncio.Future[Verdict]]] = []
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
            InboxFull: when too many wait already.
            LedgerUnavailable: when the database cannot take it. Ittybit will send it again.
        """
        if len(self._pending) >= _MOST_PENDING:
            raise InboxFull("Too many webhooks wait for the database.")
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._pending.append((arrival, future))
        self._arrived.set()
        return await future

    async def _commit_groups(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending or not self._closing:
            await self._arrived.wait()
            group, self._pending = (
                self._pending[:LARGEST_GROUP],
                self._pending[LARGEST_GROUP:],
            )
            if not self._pending and not self._closing:
                self._arrived.clear()
            if not group:
                continue
            arrivals = [arrival for arrival, _ in group]
            outcomes = await loop.run_in_executor(self._thread, self._commit, arrivals)
            for (_, future), outcome in zip(group, outcomes, strict=True):
                if future.done():
                    continue  # the sender has gone; what it sent is kept all the same
                if isinstance(outcome, Verdict):
                    future.set_result(outcome)
                else:
                    future.set_exception(outcome)

    def _commit(self, arrivals: Sequence[Arrival]) -> Sequence[Verdict | Exception]:
        began = time.perf_counter()
        try:
            verdicts: Sequence[Verdict | Exception] = self._ledger.write(receive, arrivals)
        except LedgerUnavailable as error:
            logger.warning("%d webhooks answered 503: %s", len(arrivals), error)
            verdicts = [error] * len(arrivals)
        except SQLAlchemyError:
            # One of them cannot be stored as it was read. The others must not suffer for it.
            verdicts = [self._commit_alone(arrival) for arrival in arrivals]
        self._metrics.committed(len(arrivals), time.perf_counter() - began)
        return verdicts

    def _commit_alone(self, arrival: Arrival) -> Verdict | Exception:
        for version in (arrival, Arrival(arrival.body, None)):
            try:
                return self._ledger.write(receive, [version])[0]
            except LedgerUnavailable as error:
                return error
            except SQLAlchemyError as error:
                logger.warning(
                    "A signed webhook could not be applied (%s); it is kept unread.",
                    type(error).__name__,
                )
        return LedgerUnavailable("A signed webhook could not be kept.")
