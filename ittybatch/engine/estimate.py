"""Estimate a plan's cost from the user's rates, and its time from earlier jobs.

An unknown cost or time is reported as unknown, never as zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ittybatch.engine.amounts import format_count
from ittybatch.engine.options import BatchOptions, RunOptions
from ittybatch.engine.prices import Prices
from ittybatch.ledger.queries import PastDurations
from ittybatch.settings import Settings

_KIND = "kind:"
_CENT = 0.01


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimated cost and time of a plan.

    Args:
        jobs: Jobs to submit.
        cost: In the user's unit; None if a kind has no rate.
        minutes: Estimated minutes; None if no job of some kind has ended yet.
        unpriced: Kinds without a rate.
        basis: A text that explains the estimated time.
    """

    jobs: int
    cost: float | None
    minutes: float | None
    unpriced: tuple[str, ...]
    basis: str

    def describe_cost(self) -> str:
        """Describe the cost."""
        if self.cost is None:
            return f"unknown: no price is set for {', '.join(self.unpriced)} (ITTYBATCH_KIND_COSTS)"
        return f"{format_cost(self.cost)} in your unit, if each job is made once"

    def how_to_price(self) -> str:
        """How to set a price where there is none; empty if every kind has one."""
        if not self.unpriced:
            return ""
        example = f'ITTYBATCH_KIND_COSTS={{"{self.unpriced[0]}": 0.05}}'
        return f"To see it, set what a job costs you, such as {example}, and restart the receiver."

    def describe_time(self) -> str:
        """Describe the time."""
        if not self.jobs:
            return f"none: {self.basis}"
        if self.minutes is None:
            return f"unknown: {self.basis}"
        hours, minutes = divmod(max(1, round(self.minutes)), 60)
        return f"about {f'{hours:,} h ' if hours else ''}{minutes} min, {self.basis}"


def format_cost(cost: float) -> str:
    """A cost in the user's unit: `1,200.50`, or `0.004`, as a picture's may be a thousandth."""
    return f"{cost:.2g}" if 0 < cost < _CENT else f"{cost:,.2f}"


def estimate(
    counts: Mapping[str, int],
    options: RunOptions,
    settings: Settings,
    known: Mapping[str, PastDurations],
) -> Estimate:
    """Estimate the cost and time of a plan.

    Args:
        counts: The plan's counts: `jobs`, `items`, and jobs by `kind:`.
        options: The batch's options.
        settings: Rates by kind, and limits.
        known: Durations of earlier jobs, by kind.
    """
    kinds = {
        name.removeprefix(_KIND): count
        for name, count in counts.items()
        if name.startswith(_KIND) and count
    }
    jobs = counts.get("jobs", 0)
    prices = Prices(options.cost_per_job, settings.kind_costs)
    unpriced = tuple(sorted(kind for kind in kinds if prices.of(kind) is None))
    minutes, basis = _time(kinds, jobs, counts.get("items", 0), (options, settings, known))
    return Estimate(jobs, prices.cost(kinds), minutes, unpriced, basis)


def why_ask(found: Estimate, options: BatchOptions) -> str | None:
    """Explain why a plan needs approval; None if it does not."""
    most_jobs, most_cost = options.approval_limit, options.approve_above_cost
    if not found.jobs:
        return None
    jobs = format_count(found.jobs, "job")
    if most_jobs is not None and found.jobs > most_jobs:
        are = "is" if found.jobs == 1 else "are"
        if not most_jobs:
            return f"{jobs} {are} planned. Nothing is sent before you approve it."
        return f"{jobs} {are} to be submitted, more than {most_jobs:,}."
    if most_cost is not None and (found.cost is None or found.cost > most_cost):
        return f"The cost of {jobs} is {found.describe_cost()}; asked above {most_cost:g}."
    return None


def _time(
    kinds: Mapping[str, int],
    jobs: int,
    items: int,
    by: tuple[RunOptions, Settings, Mapping[str, PastDurations]],
) -> tuple[float | None, str]:
    options, settings, known = by
    if not jobs:
        return 0.0, "there is nothing to submit"
    if settings.jobs_per_minute:
        return jobs / settings.jobs_per_minute, f"at {settings.jobs_per_minute:g} jobs a minute"
    unknown = sorted(set(kinds) - set(known))
    if unknown:
        return None, f"no {' or '.join(unknown)} job has ended yet (ITTYBATCH_JOBS_PER_MINUTE)"
    at_once = options.max_active_chunks * options.chunk_size * max(1.0, jobs / max(1, items))
    at_once = min(at_once, jobs, settings.max_in_flight or at_once)
    work_s = sum(count * known[kind].mean_s for kind, count in kinds.items())
    longest_s = max((known[kind].mean_s for kind in kinds), default=0.0)
    earlier = sum(known[kind].jobs for kind in kinds)
    basis = f"as {earlier:,} earlier jobs took, {at_once:,.0f} at a time"
    return max(work_s / at_once, longest_s) / 60, basis
