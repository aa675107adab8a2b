"""The summary of a batch by rendition, which reports, pages and artifacts share."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ittybatch.engine.amounts import format_bytes, format_change, format_duration
from ittybatch.engine.prices import Prices
from ittybatch.engine.reports.histogram import Histogram
from ittybatch.ledger.results import Result
from ittybatch.ledger.states import JobState

# No rendition can have this name.
ALL = "(all)"
_P95 = 0.95
# Numbers are aligned at the right.
SUMMARY_TITLES = (
    *("Rendition", "Jobs>", "Succeeded>", "Mean time>", "95% within>"),
    *("Inputs>", "Outputs>", "Saved>", "Cost>"),
)


@dataclass(slots=True)
class RenditionTally:
    """The jobs of one rendition, counted page by page.

    Args:
        jobs: Number of jobs.
        succeeded: Jobs that succeeded.
        failed: Jobs that failed, expired or were cancelled.
        times: Seconds from submission to end, of the jobs where both are known.
        media_s: Total playing time of the outputs, in seconds.
        sized: Succeeded jobs whose input and output sizes are both known.
        input_bytes: Total input size of these.
        output_bytes: Total output size of these.
        submissions: Submissions by kind, retries included: each may be billed.
    """

    jobs: int = 0
    succeeded: int = 0
    failed: int = 0
    times: Histogram = field(default_factory=Histogram)
    media_s: float = 0.0
    sized: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    submissions: Counter[str] = field(default_factory=Counter)

    def add(self, row: Result, took_s: float | None) -> None:
        """Count a job.

        Args:
            row: The job.
            took_s: Seconds from its submission to its end; None if unknown.
        """
        self.jobs += 1
        if row.attempts:
            self.submissions[row.kind] += row.attempts
        if took_s is not None:
            self.times.add(took_s)
        if row.state is not JobState.SUCCEEDED:
            self.failed += row.state.terminal
            return
        self.succeeded += 1
        self.media_s += row.duration_s or 0.0
        if row.size_bytes is not None and row.input_size_bytes is not None:
            self.sized += 1
            self.input_bytes += row.input_size_bytes
            self.output_bytes += row.size_bytes

    def merge(self, other: "RenditionTally") -> None:
        """Count the jobs of another rendition, too."""
        self.jobs += other.jobs
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.times.merge(other.times)
        self.media_s += other.media_s
        self.sized += other.sized
        self.input_bytes += other.input_bytes
        self.output_bytes += other.output_bytes
        self.submissions.update(other.submissions)


@dataclass(frozen=True, slots=True)
class RenditionSummary:
    """One rendition in numbers. What is unknown is None, never zero.

    Args:
        rendition: Its name, or `ALL`.
        jobs: Number of jobs.
        succeeded: Jobs that succeeded.
        failed: Jobs that failed, expired or were cancelled.
        mean_s: Mean seconds from a job's submission to its end.
        p95_s: The time that 95 % of the jobs do not exceed, at most 1 % off.
        longest_s: The longest time.
        input_bytes: Total input size of the succeeded jobs of which both sizes are known.
        output_bytes: Total output size of the same jobs.
        saved_bytes: How much smaller the outputs are; negative if they are larger.
        cost: Cost of all submissions, retries included, in the user's unit.
    """

    rendition: str
    jobs: int
    succeeded: int
    failed: int
    mean_s: float | None
    p95_s: float | None
    longest_s: float | None
    input_bytes: int | None
    output_bytes: int | None
    saved_bytes: int | None
    cost: float | None

    @property
    def size_change(self) -> str:
        """How much smaller or larger the outputs are than their inputs; empty if unknown."""
        if not self.input_bytes or self.saved_bytes is None:
            return ""
        return format_change(self.input_bytes, self.input_bytes - self.saved_bytes)

    def cells(self) -> tuple[str, ...]:
        """The values for people, in the order of `SUMMARY_TITLES`; empty where unknown."""
        return (
            self.rendition,
            f"{self.jobs:,}",
            f"{self.succeeded:,}",
            format_duration(self.mean_s),
            format_duration(self.p95_s),
            format_bytes(self.input_bytes),
            format_bytes(self.output_bytes),
            self.size_change,
            "" if self.cost is None else f"{self.cost:,.2f}",
        )


def summarise_renditions(
    tallies: Mapping[str, RenditionTally], prices: Prices
) -> list[RenditionSummary]:
    """Summarise a batch by rendition; several renditions are followed by a row of all.

    Args:
        tallies: The counted jobs, by rendition.
        prices: The prices of the batch's jobs.
    """
    found = [_summary(name, tally, prices) for name, tally in sorted(tallies.items())]
    if len(tallies) > 1:
        total = RenditionTally()
        for tally in tallies.values():
            total.merge(tally)
        found.append(_summary(ALL, total, prices))
    return found


def _summary(name: str, tally: RenditionTally, prices: Prices) -> RenditionSummary:
    sized = bool(tally.sized)
    return RenditionSummary(
        rendition=name,
        jobs=tally.jobs,
        succeeded=tally.succeeded,
        failed=tally.failed,
        mean_s=tally.times.mean,
        p95_s=tally.times.quantile(_P95),
        longest_s=tally.times.largest if tally.times.count else None,
        input_bytes=tally.input_bytes if sized else None,
        output_bytes=tally.output_bytes if sized else None,
        saved_bytes=tally.input_bytes - tally.output_bytes if sized else None,
        cost=prices.cost(tally.submissions),
    )
