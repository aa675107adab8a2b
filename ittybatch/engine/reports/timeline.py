"""When a batch's jobs ended, in memory that does not grow."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

# Bins double their width when there are more.
MOST_BINS = 240


@dataclass(slots=True)
class Timeline:
    """Ended jobs by the time of their end.

    Args:
        width_s: Width of a bin in seconds: a power of 2.
    """

    width_s: int = 1
    _succeeded: Counter[int] = field(default_factory=Counter)
    _failed: Counter[int] = field(default_factory=Counter)
    _first: int | None = None
    _last: int = 0

    def add(self, ended_at: datetime, *, succeeded: bool) -> None:
        """Count a job that ended."""
        place = int(ended_at.timestamp()) // self.width_s
        self._first = place if self._first is None else min(self._first, place)
        self._last = max(self._last, place)
        (self._succeeded if succeeded else self._failed)[place] += 1
        while self._last - self._first >= MOST_BINS:
            self._widen()

    def bins(self) -> Iterator[tuple[datetime, int, int]]:
        """Yield each bin from the first end to the last: its beginning, succeeded, failed."""
        if self._first is None:
            return
        for place in range(self._first, self._last + 1):
            begins = datetime.fromtimestamp(place * self.width_s, UTC)
            yield begins, self._succeeded[place], self._failed[place]

    def _widen(self) -> None:
        self.width_s *= 2
        self._first, self._last = (self._first or 0) // 2, self._last // 2
        self._succeeded, self._failed = _halved(self._succeeded), _halved(self._failed)


def _halved(counts: Counter[int]) -> Counter[int]:
    found: Counter[int] = Counter()
    for place, count in counts.items():
        found[place // 2] += count
    return found
