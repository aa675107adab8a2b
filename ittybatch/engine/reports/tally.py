"""Totals of a batch's jobs, counted page by page."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from ittybatch.engine.amounts import format_bytes
from ittybatch.ledger.results import Result
from ittybatch.ledger.states import JobState

SLOWEST = 10


@dataclass(slots=True)
class RenditionTally:
    """The jobs of one rendition.

    Args:
        jobs: Number of jobs.
        succeeded: Jobs that succeeded.
        timed: Jobs whose time from submission to end is known.
        seconds: Sum of these times.
        longest_s: The longest of these times.
        media_s: Total playing time of the outputs, in seconds.
        input_bytes: Total input size of the jobs whose input and output sizes are both known.
        output_bytes: Total output size of the same jobs.
        sized: Number of these jobs.
    """

    jobs: int = 0
    succeeded: int = 0
    timed: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    media_s: float = 0.0
    input_bytes: int = 0
    output_bytes: int = 0
    sized: int = 0

    @property
    def average_s(self) -> float | None:
        """Average seconds per job; None if unknown."""
        return self.seconds / self.timed if self.timed else None

    @property
    def size_change(self) -> str:
        """How much smaller or larger the outputs are than their inputs; empty if unknown."""
        if not self.input_bytes:
            return ""
        saved = self.input_bytes - self.output_bytes
        change = "smaller" if saved >= 0 else "larger"
        return f"{abs(saved) / self.input_bytes:,.0%} {change} ({format_bytes(abs(saved))})"


@dataclass(slots=True)
class Tally:
    """Totals of the jobs of a batch."""

    renditions: dict[str, RenditionTally] = field(
        default_factory=lambda: defaultdict(RenditionTally)
    )
    checks: Counter[str] = field(default_factory=Counter)
    _slowest: list[tuple[float, int, Result]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)

    def add(self, rows: Iterable[Result]) -> None:
        """Count these jobs."""
        for row in rows:
            rendition = self.renditions[row.rendition]
            rendition.jobs += 1
            if row.check:
                self.checks[row.check] += 1
            self._time(rendition, row)
            if row.state is not JobState.SUCCEEDED:
                continue
            rendition.succeeded += 1
            rendition.media_s += row.duration_s or 0.0
            if row.size_bytes is not None and row.input_size_bytes is not None:
                rendition.sized += 1
                rendition.input_bytes += row.input_size_bytes
                rendition.output_bytes += row.size_bytes

    @property
    def slowest(self) -> list[tuple[float, Result]]:
        """The slowest jobs with their times in seconds, slowest first."""
        return [(seconds, row) for seconds, _, row in sorted(self._slowest, reverse=True)]

    def _time(self, rendition: RenditionTally, row: Result) -> None:
        seconds = job_seconds(row)
        if seconds is None:
            return
        rendition.timed += 1
        rendition.seconds += seconds
        rendition.longest_s = max(rendition.longest_s, seconds)
        # The number breaks ties, so that the heap never compares rows.
        entry = (seconds, next(self._order), row)
        if len(self._slowest) < SLOWEST:
            heapq.heappush(self._slowest, entry)
        else:
            heapq.heappushpop(self._slowest, entry)


def job_seconds(row: Result) -> float | None:
    """Return the seconds from a job's submission to its end; None if either time is unknown.

    A refused job has an end but no submission. The clocks of two machines may differ, so the
    result is never negative.
    """
    if row.submitted_at is None or row.completed_at is None:
        return None
    return max(0.0, (row.completed_at - row.submitted_at).total_seconds())
