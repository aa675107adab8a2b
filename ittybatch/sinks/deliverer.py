"""The deliverer: takes results from the outbox to the sinks, in the receiver's process.

It is woken after each commit that settled a job in this process, and looks twice a second for what
other processes settled. Several receivers share the sinks: each sink is leased by one at a time.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Sequence
from uuid import uuid4

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.sinks import (
    DeclaredSink,
    keep_leases,
    release_sinks,
    sinks_due,
    sync_sinks,
)
from ittybatch.sinks.channel import LEASE_S, Channel, Observer, OpenSink

logger = logging.getLogger(__name__)

_POLL_S = 0.5
_MAX_WAIT_S = 5.0
_STOP_S = 1.8
_MAX_OWNER_CHARS = 64


class Deliverer:
    """Delivers to all declared sinks until it is stopped.

    Args:
        ledger: The ledger with the outbox.
        declared: The declared sinks. Other sinks in the ledger become inactive.
        sinks: The same sinks, opened.
        observer: Counts what happens.
        poll_s: Seconds between two polls of the ledger.
    """

    def __init__(
        self,
        ledger: Ledger,
        declared: Sequence[DeclaredSink],
        sinks: Sequence[OpenSink],
        observer: Observer,
        *,
        poll_s: float = _POLL_S,
    ) -> None:
        self._ledger = ledger
        self._declared = declared
        self._owner = _owner()
        self._poll_s = poll_s
        self._channels = {
            sink.port.name: Channel(ledger, sink, self._owner, observer) for sink in sinks
        }
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deliverer", daemon=True)

    def start(self) -> None:
        """Start delivering."""
        for channel in self._channels.values():
            channel.start()
        self._thread.start()

    def wake(self) -> None:
        """Deliver what a commit has just put into the outbox. It returns at once."""
        for channel in self._channels.values():
            channel.wake()

    def stop(self) -> None:
        """Finish the groups under way, within two seconds, and give the sinks to others.

        A group that takes longer is abandoned: it is delivered again, by another receiver or
        after the next start.
        """
        ends_at = time.monotonic() + _STOP_S
        self._stopping.set()
        for channel in self._channels.values():
            channel.stop()
        threads = [self._join, *(channel.join for channel in self._channels.values())]
        ended = [join(max(0.0, ends_at - time.monotonic())) for join in threads]
        if self._channels and all(ended):
            self._release()

    def _join(self, timeout_s: float) -> bool:
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _release(self) -> None:
        try:
            self._ledger.write(release_sinks, self._owner)
        except IttybatchError as error:
            logger.warning("The sinks stay leased for %.0f s: %s", LEASE_S, error)

    def _run(self) -> None:
        wait_s, synced = 0.0, False
        while not self._stopping.wait(wait_s):
            try:
                # Here and not at the start: a receiver starts while its database is down.
                if not synced:
                    self._ledger.write(sync_sinks, self._declared)
                    synced = True
                if not self._channels:
                    return
                self._look()
                wait_s = self._poll_s
            except Exception as error:  # the thread must survive any error
                wait_s = min(max(2 * wait_s, self._poll_s), _MAX_WAIT_S)
                if not isinstance(error, IttybatchError):
                    logger.exception("Looking for results failed.")

    def _look(self) -> None:
        renewals = [name for name, channel in self._channels.items() if channel.renewal_due]
        if renewals:
            kept = self._ledger.write(keep_leases, renewals, self._owner, LEASE_S)
            for name in renewals:
                self._channels[name].renewed(kept=name in kept)
        for name in self._ledger.read(sinks_due, self._owner):
            if (channel := self._channels.get(name)) is not None:
                channel.wake(now=True)


def _owner() -> str:
    """A unique name for this process, with its pid and host."""
    return f"{uuid4().hex[:12]} {os.getpid()} {socket.gethostname()}"[:_MAX_OWNER_CHARS]
