"""The heartbeat of a leg: it renews the lease in the ledger while the process works."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.legs import Leg, beat

_BEATS_PER_LEASE = 4


@contextmanager
def heartbeat(ledger: Ledger, leg: Leg, lease_s: float) -> Iterator[None]:
    """Send heartbeats until the block ends, or until another run replaces the leg."""
    stopping = threading.Event()
    thread = threading.Thread(
        target=_beat,
        args=(ledger, leg, lease_s / _BEATS_PER_LEASE, stopping),
        name="heartbeat",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _beat(ledger: Ledger, leg: Leg, every_s: float, stopping: threading.Event) -> None:
    while not stopping.wait(every_s):
        try:
            if not ledger.write(beat, leg):
                return
        except IttybatchError:
            continue  # the database is unavailable; the leg's own queries raise the error
