"""How fast submissions leave: a rate, and a common pause when Ittybit asks for one."""

import asyncio
from collections.abc import Callable

from ittybatch.ittybit.errors import IttybitError, RateLimited


class Pace:
    """Spaces out the submissions of one leg.

    Args:
        rate_per_s: Submissions a second, or None for as fast as they go.
        on_hold: Told how many seconds everything pauses for, and why.
    """

    def __init__(
        self,
        rate_per_s: float | None = None,
        on_hold: Callable[[IttybitError, float], None] | None = None,
    ) -> None:
        self._gap_s = 1 / rate_per_s if rate_per_s else 0.0
        self._on_hold = on_hold
        self._next_at = 0.0
        self._held_until = 0.0

    def most_in(self, seconds: float, most: int) -> int:
        """How many submissions leave in a time: from 1 up to `most`."""
        return most if not self._gap_s else max(1, min(most, int(seconds / self._gap_s)))

    async def turn(self) -> None:
        """Wait for the next place in the line."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._next_at, self._held_until)
        if self._gap_s:
            self._next_at = at + self._gap_s
        if at > now:
            await asyncio.sleep(at - now)

    def note_retry(self, error: IttybitError, wait_s: float) -> None:
        """Let one request's 429 slow down all of them: the limit is the account's."""
        if not isinstance(error, RateLimited):
            return
        until = asyncio.get_running_loop().time() + wait_s
        if until > self._held_until + 1 and self._on_hold:
            self._on_hold(error, wait_s)
        self._held_until = max(self._held_until, until)
