"""Tells the ledger once a minute that this receiver runs, for people to look at."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from typing import Any

from ittybatch import __version__
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.last_runs import forget_receiver, record_receiver

logger = logging.getLogger(__name__)

EVERY_S = 60.0


class Presence:
    """Records that this receiver is alive, until it stops.

    Args:
        ledger: The ledger.
        details: What it is, by name.
    """

    def __init__(self, ledger: Ledger, details: Mapping[str, Any]) -> None:
        self.place = f"{socket.gethostname()}, process {os.getpid()}"
        self._ledger = ledger
        self._details = {"version": __version__, **details}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start recording."""
        self._task = asyncio.create_task(self._record())

    async def stop(self) -> None:
        """Stop, and remove the record."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(IttybatchError):
            await asyncio.to_thread(self._ledger.write, forget_receiver, self.place)

    async def _record(self) -> None:
        while True:
            try:
                await asyncio.to_thread(
                    self._ledger.write, record_receiver, self.place, self._details
                )
            except IttybatchError as error:
                logger.debug("This receiver could not be recorded: %s", error)
            except Exception:  # the next minute may go better
                logger.exception("This receiver could not be recorded.")
            await asyncio.sleep(EVERY_S)
