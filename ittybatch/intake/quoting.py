"""What a request would make and cost, before it is taken."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ittybatch.engine.amounts import format_bytes
from ittybatch.engine.estimate import Estimate, estimate
from ittybatch.engine.options import RunOptions
from ittybatch.ledger import Transaction
from ittybatch.ledger.fates import Fate, JobFate, fates_of
from ittybatch.ledger.intake import Order
from ittybatch.ledger.queries import past_durations
from ittybatch.profiles import Item, JobSpec
from ittybatch.settings import Settings

# Short: the form of 200 files holds those of all their jobs. They find changes, not forgeries.
_DIGEST_CHARS = 10


@dataclass(frozen=True, slots=True)
class QuotedJob:
    """One job that a request asks for.

    Args:
        rendition: Name of the rendition.
        kind: Kind of job.
        destination: Where the output goes; None for Ittybit's own store.
        fate: What becomes of it.
        job_id: The job that answers instead of a new one, or that is made again.
        cost: Its cost in the user's unit; 0 if nothing is sent, None if there is no rate.
        why: Why its destination cannot be used.
        digest: See `digests_of`.
    """

    rendition: str
    kind: str
    destination: str | None
    fate: Fate
    job_id: int | None
    cost: float | None
    why: str | None
    digest: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A rendition of the profile that this item does not get, and the condition."""

    rendition: str
    kind: str
    condition: str


@dataclass(frozen=True, slots=True)
class QuotedItem:
    """One item of a quote."""

    item: Item
    jobs: Sequence[QuotedJob]
    left_out: Sequence[LeftOut]


@dataclass(frozen=True, slots=True)
class Quote:
    """What requests would make and cost.

    Args:
        items: The items, in the order given.
        expected: Cost and time of what would be sent.
    """

    items: Sequence[QuotedItem]
    expected: Estimate

    @property
    def paid(self) -> int:
        """How many jobs would be sent."""
        return sum(job.fate.paid for item in self.items for job in item.jobs)

    @property
    def paid_digests(self) -> list[str]:
        """Digests of the jobs that would be sent."""
        return [job.digest for item in self.items for job in item.jobs if job.fate.paid]

    @property
    def refused(self) -> str | None:
        """Why the requests cannot be taken, if they cannot."""
        jobs = (job for item in self.items for job in item.jobs)
        return next((job.why for job in jobs if job.fate is Fate.TAKEN), None)


def quote(transaction: Transaction, settings: Settings, orders: Sequence[Order]) -> Quote:
    """Say what requests would make and cost.

    Args:
        transaction: A transaction of the ledger that knows the jobs that exist.
        settings: The rates by kind.
        orders: At least one request; all of one profile and with the same `again`.
    """
    fates = fates_of(transaction, orders)
    options = RunOptions.model_validate(orders[0].spec.options)
    items = [
        QuotedItem(
            order.planned.item,
            [
                _quoted(
                    job,
                    fate,
                    digest,
                    options.cost_per_job or settings.kind_costs.get(job.kind.value),
                )
                for job, fate, digest in zip(
                    order.planned.jobs, found, digests_of(order.planned.jobs), strict=True
                )
            ],
            left_out_of(order.spec.profile, order.planned.jobs),
        )
        for order, found in zip(orders, fates, strict=True)
    ]
    counts: Counter[str] = Counter()
    for item in items:
        sent = [job for job in item.jobs if job.fate.paid]
        counts["items"] += bool(sent)
        counts["jobs"] += len(sent)
        counts.update(f"kind:{job.kind}" for job in sent)
    return Quote(items, estimate(counts, options, settings, past_durations(transaction)))


def digests_of(jobs: Sequence[JobSpec]) -> list[str]:
    """Digests of what jobs ask for: equal for jobs that make the same and cost the same.

    The source is no part of them: a file that is to be uploaded does not exist when it is shown.
    """
    return [
        hashlib.sha256(
            orjson.dumps(
                [job.rendition, job.kind.value, job.options, job.destination],
                option=orjson.OPT_SORT_KEYS,
            )
        ).hexdigest()[:_DIGEST_CHARS]
        for job in jobs
    ]


def left_out_of(profile: Mapping[str, Any], jobs: Sequence[JobSpec]) -> list[LeftOut]:
    """List the renditions of a profile that an item does not get, with their conditions."""
    made = {job.rendition for job in jobs}
    if not made & {each["name"] for each in profile["renditions"]}:
        return []  # the request names its own kinds
    return [
        LeftOut(each["name"], each["kind"], describe_condition(each["kind"], each["when"]))
        for each in profile["renditions"]
        if each["name"] not in made
    ]


def describe_condition(kind: str, when: Mapping[str, Any]) -> str:
    """Describe the condition of a rendition, as a profile's JSON has it."""
    parts = [f"media: {', '.join(when['media'])}"] if when.get("media") else []
    if when.get("suffix"):
        parts.append(f"suffix: {', '.join(when['suffix'])}")
    if when.get("glob"):
        parts.append(f"key like {when['glob']}")
    if when.get("min_size") is not None:
        parts.append(f"at least {format_bytes(when['min_size'])}")
    if when.get("max_size") is not None:
        parts.append(f"at most {format_bytes(when['max_size'])}")
    return "; ".join(parts) or f"a suffix that {kind} can be made from"


def _quoted(job: JobSpec, fate: JobFate, digest: str, rate: float | None) -> QuotedJob:
    return QuotedJob(
        job.rendition,
        job.kind.value,
        job.destination,
        fate.fate,
        fate.job.id if fate.job is not None else None,
        rate if fate.fate.paid else 0.0,
        fate.why,
        digest,
    )
