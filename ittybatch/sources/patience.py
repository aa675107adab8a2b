"""How long a place that does not answer is asked again, and how far apart."""

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import stamina

from ittybatch.settings import Settings

# A machine that is not there at all is rather a mistyped name than a short trouble.
UNREACHABLE_TRIES = 3
_WAIT_INITIAL_S = 0.5
_WAIT_MAX_S = 30.0
# A server may ask for an hour. By then somebody should know.
_MAX_ASKED_S = 120.0


class BrokenConnectionError(Exception):
    """A transfer failed or ended early; it can be opened again at the place where it did.

    Args:
        reason: What happened.
        retry_after_s: Seconds that the server asked to wait.
        unreachable: Whether no server answered at all.
    """

    def __init__(
        self, reason: str, *, retry_after_s: float | None = None, unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.unreachable = unreachable


def attempts(*, first: bool) -> Iterable[stamina.Attempt]:
    """Tries of something that raises `BrokenConnectionError`, the first one at once.

    Args:
        first: Whether the place has never answered before.
    """
    return stamina.retry_context(
        on=_Backoff(first=first),
        attempts=None,
        timeout=Settings().source_retry_s,
        wait_initial=_WAIT_INITIAL_S,
        wait_max=_WAIT_MAX_S,
    )


class _Backoff:
    """Tells stamina whether to repeat, and after how many seconds."""

    def __init__(self, *, first: bool) -> None:
        self._first = first
        self._unreachable = 0

    def __call__(self, error: Exception) -> bool | float:
        if not isinstance(error, BrokenConnectionError):
            return False
        self._unreachable += error.unreachable
        if self._first and self._unreachable >= UNREACHABLE_TRIES:
            return False
        return True if error.retry_after_s is None else error.retry_after_s


def seconds_of_retry_after(value: str | None) -> float | None:
    """Read a header `Retry-After`: seconds, or a date; None where it is neither."""
    if not value:
        return None
    try:
        asked_s = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        asked_s = (moment - datetime.now(UTC)).total_seconds()
    return min(max(asked_s, 0.0), _MAX_ASKED_S)
