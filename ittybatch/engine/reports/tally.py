"""Totals of a batch's jobs, counted page by page."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from ittybatch.engine.prices import Prices
from ittybatch.engine.reports.histogram import Histogram
from ittybatch.engine.reports.renditions import (
    RenditionSummary,
    RenditionTally,
    summarise_renditions,
)
from ittybatch.engine.reports.timeline import Timeline
from ittybatch.ledger.results import Result
from ittybatch.ledger.states import JobState

SLOWEST = 10


@dataclass(slots=True)
class Tally:
    """Totals of the jobs of a batch.

    Args:
        prices: The prices of its jobs.
        renditions: The jobs by rendition.
        checks: Checked outputs by result.
        ends: When jobs ended.
    """

    prices: Prices = field(default_factory=Prices)
    renditions: dict[str, RenditionTally] = field(
        default_factory=lambda: defaultdict(RenditionTally)
    )
    checks: Counter[str] = field(default_factory=Counter)
    ends: Timeline = field(default_factory=Timeline)
    _slowest: list[tuple[float, int, Result]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)

    def add(self, rows: Iterable[Result]) -> None:
        """Count these jobs."""
        for row in rows:
            took_s = job_seconds(row)
            self.renditions[row.rendition].add(row, took_s)
            if row.check:
                self.checks[row.check] += 1
            if row.completed_at is not None and row.state.terminal:
                self.ends.add(row.completed_at, succeeded=row.state is JobState.SUCCEEDED)
            if took_s is not None:
                self._keep_if_slow(took_s, row)

    @property
    def summary(self) -> list[RenditionSummary]:
        """The summary by rendition."""
        return summarise_renditions(self.renditions, self.prices)

    @property
    def times(self) -> Histogram:
        """Seconds from submission to end, of all jobs."""
        found = Histogram()
        for each in self.renditions.values():
            found.merge(each.times)
        return found

    @property
    def slowest(self) -> list[tuple[float, Result]]:
        """The slowest jobs with their times in seconds, slowest first."""
        return [(seconds, row) for seconds, _, row in sorted(self._slowest, reverse=True)]

    def _keep_if_slow(self, took_s: float, row: Result) -> None:
        # The number breaks ties, so that the heap never compares rows.
        entry = (took_s, next(self._order), row)
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
