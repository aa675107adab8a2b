"""What would become of requests if they were taken now. Nothing is written and nothing locked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ittybatch.ledger.accepting import accepting_batches
from ittybatch.ledger.claims import Claims
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.intake import Order, under_known_keys
from ittybatch.ledger.made_jobs import MadeJob, jobs_made
from ittybatch.ledger.plan import PlannedPage
from ittybatch.ledger.states import JobState


class Fate(StrEnum):
    """What would become of one job of a request."""

    NEW = "new"
    AGAIN = "again"
    MADE = "already made"
    IN_FLIGHT = "in flight"
    HELD_BACK = "held back"
    TAKEN = "destination taken"

    @property
    def paid(self) -> bool:
        """Whether the job would be sent, and perhaps billed."""
        return self in {Fate.NEW, Fate.AGAIN}


@dataclass(frozen=True, slots=True)
class JobFate:
    """One job of a request, as it would be answered.

    Args:
        fate: What would become of it.
        job: The job that would answer, or that is made again; None for a new one.
        why: Why its destination cannot be used.
    """

    fate: Fate
    job: MadeJob | None = None
    why: str | None = None


_FATES = {"already_done": Fate.MADE, "held_back": Fate.HELD_BACK}


def fates_of(transaction: Transaction, orders: Sequence[Order]) -> list[list[JobFate]]:
    """Look up what `take` would do with requests of one kind, all with `again` or all without.

    Args:
        transaction: The transaction to look in; a reading one is enough.
        orders: The requests.

    Returns:
        For each request, the fate of each of its jobs, in their order.
    """
    orders = under_known_keys(transaction, orders)
    page = PlannedPage(
        [order.planned for order in orders],
        [],
        {},
        "",
        remake=any(o.again for o in orders),
        versions=True,
    )
    claims = Claims(transaction, None, page)
    keys = dict.fromkeys(job.job_key for order in orders for job in order.planned.jobs)
    held = {key: claims.why_held(key) for key in keys}
    earlier = _newest_by_key(jobs_made(transaction, list(keys)), remake=page.remake)
    claims.sort(page, Counter())
    # `sort` names the jobs that it refuses only in a text for each item.
    refused = {key for key in keys if claims.why_held(key) == "same_destination"}
    why = claims.refused[0].reason if claims.refused else None
    own = {batch.id for batch in accepting_batches(transaction).values()}
    found: dict[str, JobFate] = {}
    for key in keys:
        job = earlier.get(key)
        if key in refused:
            found[key] = JobFate(Fate.TAKEN, None, why)
        elif job is not None and _waits_in(own, job):
            found[key] = JobFate(Fate.IN_FLIGHT, job)
        elif held[key] is None:
            ended = job is not None and JobState(job.state).terminal
            found[key] = JobFate(Fate.AGAIN if ended else Fate.NEW, job if ended else None)
        else:
            found[key] = JobFate(_FATES.get(str(held[key]), Fate.IN_FLIGHT), job)
    return [[found[job.job_key] for job in order.planned.jobs] for order in orders]


def _waits_in(batches: set[str], job: MadeJob) -> bool:
    """Whether a job is unsent in a batch of requests, which does not take it over from itself."""
    return job.claim is not None and job.state == JobState.PLANNED and job.batch_id in batches


def _newest_by_key(jobs: Sequence[MadeJob], *, remake: bool) -> Mapping[str, MadeJob]:
    """The job of each key that would answer: one that succeeded, else the one with the claim."""
    found: dict[str, MadeJob] = {}
    for job in sorted(jobs, key=lambda job: (job.claim is not None, job.id)):
        kept = found.get(job.job_key)
        keeps = kept is not None and kept.state == JobState.SUCCEEDED and not remake
        if not keeps or job.state == JobState.SUCCEEDED:
            found[job.job_key] = job
    return found
