"""Brakes for batches of requests: their chunks' legs, which brake other batches, sleep."""

import asyncio
import contextlib
import logging

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.accepting import accepting_batches
from ittybatch.ledger.brakes import hold_if_alike
from ittybatch.ledger.states import BatchState

logger = logging.getLogger(__name__)

_EVERY_S = 5.0


class Brakes:
    """Holds batches of requests whose newest attempts nearly all failed alike.

    Args:
        ledger: The ledger.
        every_s: Seconds between two checks.
    """

    def __init__(self, ledger: Ledger, *, every_s: float = _EVERY_S) -> None:
        self._ledger = ledger
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start checking."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop checking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await asyncio.to_thread(brake_all, self._ledger)
            except IttybatchError as error:
                logger.warning("The batches of requests were not checked: %s", error)
            except Exception:  # the next round checks again
                logger.exception("The batches of requests were not checked.")


def brake_all(ledger: Ledger) -> list[str]:
    """Check every batch that takes requests.

    Returns:
        The batches that are held by this check.
    """
    held = [batch for batch in ledger.read(_running) if ledger.write(hold_if_alike, batch)]
    for batch in held:
        logger.error(
            "Nearly all of the newest attempts of batch %s failed for the same reason: it is held.",
            batch,
        )
    return held


def _running(transaction: Transaction) -> list[str]:
    batches = accepting_batches(transaction).values()
    return [batch.id for batch in batches if batch.state is BatchState.RUNNING]
