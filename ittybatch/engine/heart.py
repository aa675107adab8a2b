"""A leg's heart: it says in the ledger that its process is alive, for as long as that works."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.legs import Leg, beat

_BEATS_A_LEASE = 4


@contextmanager
def beating(ledger: Ledger, leg: Leg, lease_s: float) -> Iterator[None]:
    """Beat until the end of the block, or until another run has taken the leg's place."""
    stopping = threading.Event()
    heart = threading.Thread(
        target=_beat,
        args=(ledger, leg, lease_s / _BEATS_A_LEASE, stopping),
        name="heartbeat",
        daemon=True,
    )
    heart.start()
    try:
        yield
    finally:
        stopping.set()
        heart.join()


def _beat(ledger: Ledger, leg: Leg, every_s: float, stopping: threading.Event) -> None:
    while not stopping.wait(every_s):
        try:
            if not ledger.write(beat, leg):
                return
        except IttybatchError:
            continue  # the database is away; the leg itself meets that where it matters
