"""Retries a request whose next try may succeed."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

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
MayRepeat = Callable[[], Awaitable[bool]]

RETRYABLE = (IttybitConnectionError, IttybitTimeout, RateLimited, ServerError, UnreadableAnswer)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to try a request, and how long to wait between two tries.

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

    async def call(
        self, request: Callable[[], Awaitable[T]], may_repeat: MayRepeat | None = None
    ) -> T:
        """Make a request and retry it if necessary.

        Args:
            request: Makes the request once.
            may_repeat: Asked after each wait whether the request may still be made again.

        Raises:
            IttybitError: The error of the last try. Its `outcome_unknown` covers every try: a
                request that timed out and was then rate limited may have been accepted the
                first time.
        """
        try:
            return await request()
        except IttybitError as error:
            again = _Again(error, request, may_repeat)
        # Only a request that has failed gets here: the caller costs as much as the request.
        retrying = stamina.AsyncRetryingCaller(attempts=self.attempts, timeout=None)
        return await retrying(_Backoff(self), again)


class _Again(Generic[T]):
    """A request whose first try has failed: the first call raises its error.

    So does each later call, with the last error, if the request may not be repeated.
    """

    def __init__(
        self,
        failed: IttybitError,
        request: Callable[[], Awaitable[T]],
        may_repeat: MayRepeat | None,
    ) -> None:
        self._failed = failed
        self._request = request
        self._may_repeat = may_repeat
        self._is_first = True

    async def __call__(self) -> T:
        is_first, self._is_first = self._is_first, False
        if is_first or (self._may_repeat is not None and not await self._may_repeat()):
            raise self._failed
        try:
            return await self._request()
        except IttybitError as error:
            self._failed = error
            raise


class _Backoff:
    """stamina's backoff hook for one request: whether to retry, and after how many seconds."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._tries = 0
        self._outcome_unknown = False
        self._last: Exception | None = None

    def __call__(self, error: Exception) -> bool | float:
        if not isinstance(error, IttybitError):
            return False
        if error is self._last:
            return False  # the request may not be repeated
        self._last = error
        self._tries += 1
        error.earlier_try_unknown = self._outcome_unknown
        self._outcome_unknown = error.outcome_unknown
        if not isinstance(error, RETRYABLE):
            return False
        if self._tries >= self._policy.attempts:
            return True  # stamina counts too, and raises it
        wait_s = self._wait_s(error.retry_after_s)
        if self._policy.on_retry:
            self._policy.on_retry(error, wait_s)
        return wait_s

    def _wait_s(self, retry_after_s: float | None) -> float:
        """The wait before the next try, with jitter: requests that failed together spread out."""
        policy = self._policy
        longest_s = min(policy.wait_cap_s, policy.wait_initial_s * 2.0 ** (self._tries - 1))
        backoff_s = random.uniform(longest_s / 2, longest_s)  # noqa: S311 - not for secrets
        if retry_after_s is None:
            return backoff_s
        jitter_s = random.uniform(0, longest_s / 2)  # noqa: S311 - not for secrets
        return min(policy.wait_cap_s, max(backoff_s, retry_after_s + jitter_s))
