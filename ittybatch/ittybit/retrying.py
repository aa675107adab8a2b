"""Repeats an exchange that may end better the next time."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import stamina

from ittybatch.ittybit.errors import (
    IttybitConnectionError,
    IttybitError,
    IttybitTimeout,
    RateLimited,
    ServerError,
    UnreadableAnswer,
)

T = TypeVar("T")
RetryHook = Callable[[IttybitError, float], None]

REPEATABLE = (IttybitConnectionError, IttybitTimeout, RateLimited, ServerError, UnreadableAnswer)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how far apart.

    Args:
        attempts: Tries in all, the first included.
        wait_initial_s: Seconds before the second try; doubled for each further one.
        wait_cap_s: The longest wait between two tries, whatever `Retry-After` asks for.
        on_retry: Called before each wait, with the error and the wait in seconds.
    """

    attempts: int
    wait_initial_s: float
    wait_cap_s: float
    on_retry: RetryHook | None = None

    async def call(self, exchange: Callable[[], Awaitable[T]]) -> T:
        """Make an exchange, again if need be; raises the error of the last try.

        That error's `outcome_unknown` speaks for every try: a request that timed out and was
        then turned away for its rate may have been accepted the first time.
        """
        try:
            return await exchange()
        except IttybitError as error:
            if self.attempts == 1 or not isinstance(error, REPEATABLE):
                raise
            first: IttybitError | None = error
        # Only a failure pays for the machinery: it costs as much as a tenth of an exchange.
        async for attempt in stamina.retry_context(
            on=_Backoff(self), attempts=self.attempts, timeout=None
        ):
            with attempt:
                if first is not None:
                    failed, first = first, None
                    raise failed
                return await exchange()
        raise AssertionError  # pragma: no cover - the loop returns or raises


class _Backoff:
    """Tells stamina whether to repeat, and after how many seconds."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._tries = 0
        self._unknown = False

    def __call__(self, error: Exception) -> bool | float:
        if not isinstance(error, IttybitError):
            return False
        self._tries += 1
        error.earlier_try_unknown = self._unknown
        self._unknown = error.outcome_unknown
        if not isinstance(error, REPEATABLE):
            return False
        if self._tries >= self._policy.attempts:
            return True  # stamina counts too, and raises it
        wait_s = self._wait_s(error.retry_after_s)
        if self._policy.on_retry:
            self._policy.on_retry(error, wait_s)
        return wait_s

    def _wait_s(self, asked_s: float | None) -> float:
        """Spread out, so that what failed together does not come back together."""
        policy = self._policy
        longest_s = min(policy.wait_cap_s, policy.wait_initial_s * 2.0 ** (self._tries - 1))
        backoff_s = random.uniform(longest_s / 2, longest_s)  # noqa: S311 - nothing to guess
        if asked_s is None:
            return backoff_s
        spread_s = random.uniform(0, longest_s / 2)  # noqa: S311 - nothing to guess
        return min(policy.wait_cap_s, max(backoff_s, asked_s + spread_s))
