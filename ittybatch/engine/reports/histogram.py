"""Values of a million jobs in memory that does not grow: how many lie where."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

# Buckets are 2 % wide, so a quantile is at most 1 % off.
_RATIO = 1.02
_LOG_RATIO = math.log(_RATIO)
_SMALLEST = 0.001


@dataclass(slots=True)
class Histogram:
    """Counts of values in buckets whose limits grow by a fixed ratio.

    Args:
        count: The number of values.
        total: Their sum.
        smallest: The smallest value.
        largest: The largest value.
        buckets: The number of values in each bucket.
    """

    count: int = 0
    total: float = 0.0
    smallest: float = math.inf
    largest: float = 0.0
    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, value: float) -> None:
        """Count a value of 0 or more."""
        self.count += 1
        self.total += value
        self.smallest = min(self.smallest, value)
        self.largest = max(self.largest, value)
        self.buckets[math.ceil(math.log(max(value, _SMALLEST)) / _LOG_RATIO)] += 1

    def merge(self, other: "Histogram") -> None:
        """Count the values of another histogram, too."""
        self.count += other.count
        self.total += other.total
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)
        self.buckets.update(other.buckets)

    @property
    def mean(self) -> float | None:
        """The mean; None without a value."""
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """Return a value that this share of all values does not exceed, at most 1 % off.

        Args:
            share: From 0 to 1; 0.95 for the 95th percentile.

        Returns:
            The value; None without a value.
        """
        rank = max(1, math.ceil(share * self.count))
        below = 0
        for bucket, count in sorted(self.buckets.items()):
            below += count
            if below >= rank:
                middle = 2 * _RATIO**bucket / (_RATIO + 1)
                return min(max(middle, self.smallest), self.largest)
        return None

    def bars(self, most: int) -> Iterator[tuple[float, float, int]]:
        """Yield bars of equal width on a logarithmic axis: lower limit, upper limit, count.

        Args:
            most: The maximum number of bars.
        """
        if not self.buckets:
            return
        first, last = min(self.buckets), max(self.buckets)
        width = max(1, -(-(last - first + 1) // most))
        counts: Counter[int] = Counter()
        for bucket, count in self.buckets.items():
            counts[(bucket - first) // width] += count
        for bar in range(max(counts) + 1):
            begins = first - 1 + bar * width
            yield _RATIO**begins, _RATIO ** (begins + width), counts[bar]
