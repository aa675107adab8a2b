"""Retry failed jobs: count and price them first, then start their batch once."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from ittybatch.engine.amounts import format_count
from ittybatch.engine.estimate import Estimate, estimate, format_cost
from ittybatch.engine.flow_runs import open_flow_runs, require_prefect
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.planning import wanted_of
from ittybatch.engine.starting import start_batch
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Transaction
from ittybatch.ledger.retrying import count_ended
from ittybatch.settings import Settings
from ittybatch.sources import FailedJobsSource

_DEPLOYMENT = "retry-failed"


class NothingToRetry(IttybatchError):
    """No job fits, or all that fit have been taken up by a later batch."""


class MoreThanConfirmed(IttybatchError):
    """More jobs fit than somebody has seen and confirmed."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Jobs that can be made again.

    Args:
        source: Which jobs; fixed in time.
        kinds: The number of jobs by kind.
        estimate: What making them again may cost.
    """

    source: FailedJobsSource
    kinds: Counter[str]
    estimate: Estimate

    @property
    def jobs(self) -> int:
        """The number of jobs."""
        return self.kinds.total()

    @property
    def key(self) -> str:
        """What identifies this retry: the same filter, fixed at the same time, has the same key."""
        text = self.source.model_dump_json(exclude_none=True)
        return f"retry:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class StartedRetry:
    """A retry whose flow run exists. Its batch exists once a worker has started the run.

    Args:
        jobs: The number of jobs to make again.
        flow_run_id: Prefect's id of the flow run.
        url: The flow run's page in Prefect.
    """

    jobs: int
    flow_run_id: str
    url: str

    def describe(self) -> str:
        """Describe what was done."""
        return f"Asked for {format_count(self.jobs, 'job')} to be made again."


def price_of(kinds: Counter[str], options: BatchOptions, settings: Settings) -> Estimate:
    """Estimate what it costs to make jobs again.

    Args:
        kinds: The number of jobs by kind.
        options: The options of the batch that they are of, which may have a price.
        settings: The prices by kind.
    """
    counts = {"jobs": kinds.total(), **{f"kind:{kind}": jobs for kind, jobs in kinds.items()}}
    return estimate(counts, options, settings, {})


def short_price(expected: Estimate) -> str:
    """A price for a button: `about 1.20`, or that none is set."""
    if expected.cost is None:
        return "no price is set"
    return f"about {format_cost(expected.cost)}"


def count_retry(
    transaction: Transaction, settings: Settings, source: FailedJobsSource, options: BatchOptions
) -> Retry:
    """Count the jobs that a retry makes again, and what they may cost.

    Args:
        transaction: The transaction to look in.
        settings: The prices by kind.
        source: Which jobs.
        options: The options of the batch that they are of.
    """
    fixed_source = source.at(datetime.now(UTC))
    kinds = count_ended(transaction, wanted_of(fixed_source))
    return Retry(fixed_source, kinds, price_of(kinds, options, settings))


def start_retry(retry: Retry, *, confirmed: int, by: str) -> StartedRetry:
    """Start the flow run of a retry. The same retry again is the same flow run.

    Args:
        retry: What to retry.
        confirmed: The number of jobs that somebody has seen, with their price. The flow run makes
            no more.
        by: What asks for it: `page`.

    Raises:
        NothingToRetry: There is no such job, or not any more.
        MoreThanConfirmed: More jobs fit by now.
        PrefectUnavailable: Prefect does not answer, or does not have the deployment.
    """
    if not retry.jobs:
        raise NothingToRetry(
            "There is nothing to retry: no failed job fits, or a later batch has taken all of "
            "them up already. Nothing was started.",
        )
    if retry.jobs > confirmed:
        raise MoreThanConfirmed(
            f"{format_count(retry.jobs, 'job')} can be made again by now, and "
            f"{confirmed:,} were confirmed. Nothing was started.",
            remedy="Look at the number and the price again, and confirm them.",
        )
    # More may be found before a worker starts the run.
    source = retry.source.model_copy(update={"most_jobs": confirmed})
    parameters = {"source": source.model_dump(mode="json", exclude_none=True)}
    require_prefect()
    with open_flow_runs() as flow_runs:
        flow_run = start_batch(
            flow_runs,
            _DEPLOYMENT,
            parameters,
            tags=[f"started-by:{by}"],
            idempotency_key=retry.key,
        )
        return StartedRetry(retry.jobs, flow_run, flow_runs.url(flow_run))
