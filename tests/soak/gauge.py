"""How many jobs Ittybit accepts: what leaves here, measured on the other side of the wire."""

import time
from collections.abc import Callable

from tests.end_to_end.waiting import until
from tests.end_to_end.wire import Wire

# A chunk's leg may have to begin first, in a process of its own.
HEEDED_WITHIN_S = 90.0
_WINDOW_S = 2.0
_LOOK_EVERY_S = 0.25


class Gauge:
    """Counts what a sandbox accepts.

    Args:
        wire: The sandbox.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @property
    def accepted(self) -> int:
        """Jobs accepted so far."""
        return int(self._wire.summary()["jobs_created"])

    def rate(self, over_s: float = _WINDOW_S) -> float:
        """Jobs accepted a second, from now on for so many seconds."""
        began, at = time.monotonic(), self.accepted
        time.sleep(over_s)
        return (self.accepted - at) / (time.monotonic() - began)

    def until(self, is_so: Callable[[float], bool], what: str) -> float:
        """Wait until as many are accepted a second as should be.

        Args:
            is_so: Whether a rate is as it should be.
            what: How it should be, for the message when it does not come to it.

        Returns:
            Seconds that it took.
        """
        began = time.monotonic()
        until(lambda: is_so(self.rate()), what, within_s=HEEDED_WITHIN_S, every_s=0)
        return time.monotonic() - began

    def until_still(self, for_s: float) -> float:
        """Wait until nothing has been accepted for so many seconds.

        Returns:
            Seconds until the last that was.
        """
        began = since = time.monotonic()
        at = self.accepted
        while time.monotonic() - since < for_s:
            assert time.monotonic() - began < HEEDED_WITHIN_S, "jobs are still accepted"
            time.sleep(_LOOK_EVERY_S)
            if (now := self.accepted) > at:
                at, since = now, time.monotonic()
        return since - began
