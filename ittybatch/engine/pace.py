"""Limit the rate of submissions, and pause all of them when Ittybit asks for it."""

import asyncio
from collections.abc import Callable

from ittybatch.ittybit.errors import IttybitError, RateLimited

# After a busy moment the loop may catch up by this much. More would be a burst.
_CATCH_UP_S = 0.05


class Pace:
    """Spaces out the submissions of one leg.

    Args:
        most_per_s: Maximum submissions per second, even if `go_at` sets more; None for no limit.
        on_hold: Called with the error and the seconds of the pause when all submissions pause.
    """

    def __init__(
        self,
        most_per_s: float | None = None,
        on_hold: Callable[[IttybitError, float], None] | None = None,
    ) -> None:
        self._most_per_s = most_per_s
        self._gap_s = 1 / most_per_s if most_per_s else 0.0
        self._on_hold = on_hold
        self._last_at = float("-inf")
        self._held_until = 0.0

    def go_at(self, rate_per_s: float | None) -> None:
        """Set the rate in submissions per second; None for no limit except `most_per_s`."""
        rates = [rate for rate in (rate_per_s, self._most_per_s) if rate]
        self._gap_s = 1 / min(rates) if rates else 0.0

    def most_in(self, seconds: float, most: int) -> int:
        """Return how many submissions may be sent in this time, from 1 to `most`."""
        return most if not self._gap_s else max(1, min(most, int(seconds / self._gap_s)))

    @property
    def wait_s(self) -> float:
        """Seconds until the next submission may be sent."""
        return max(self._last_at + self._gap_s, self._held_until) - self._now

    def leave(self) -> None:
        """Record that a submission is sent now."""
        self._last_at = max(self._last_at + self._gap_s, self._now - _CATCH_UP_S)

    async def pause_over(self) -> None:
        """Wait for the end of the pause that Ittybit asked for."""
        while (wait_s := self._held_until - self._now) > 0:  # noqa: ASYNC110  the pause may be extended
            await asyncio.sleep(wait_s)

    def note_retry(self, error: IttybitError, wait_s: float) -> None:
        """Pause all submissions after a 429 to one of them, because the limit is per account."""
        if not isinstance(error, RateLimited):
            return
        until = self._now + wait_s
        if until > self._held_until + 1 and self._on_hold:
            self._on_hold(error, wait_s)
        self._held_until = max(self._held_until, until)

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()
