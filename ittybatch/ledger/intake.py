"""Intake: requests become items and jobs of today's batch, claimed for sending at once.

A group of requests is taken in one transaction. The process that took them sends their jobs. Until
the lease of a job ends, no leg of its chunk sends it; if the process dies, a leg sends it again
after that, under the same Idempotency-Key.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ittybatch.errors import IttybatchError
from ittybatch.ledger.accepting import (
    Accepting,
    IntakeSpec,
    accepting_batches,
    lock_accepting,
    open_accepting,
)
from ittybatch.ledger.actions import Asker, Via, record_action
from ittybatch.ledger.brakes import submissions_left
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.followers import Following, follow
from ittybatch.ledger.made_jobs import MadeJob, lock_made, read_made
from ittybatch.ledger.new_jobs import DestinationTaken, NewJobs
from ittybatch.ledger.plan import PlannedItem
from ittybatch.ledger.requests import Kept, Repeat, find_repeats, keep_answers, renew_answer
from ittybatch.ledger.same_object import same_jobs
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import Submission

__all__ = ["DestinationTaken", "KeyReused", "Order", "OrderedJob", "Receipt", "take"]


class KeyReused(IttybatchError):
    """An Idempotency-Key came with another body than the first time."""


@dataclass(frozen=True, slots=True)
class Order:
    """One request, with the jobs that it asks for.

    Args:
        spec: What its batch has in common.
        planned: Its item and the jobs, at least one.
        again: Whether jobs that have ended are made again.
        key: Digest of its Idempotency-Key, if it has one.
        digest: Digest of its body.
        asker: Who asks, if it is known; plain requests of the API are not recorded.
        by_flow_run: Whether a flow run makes it, which may sleep before it makes it again.
    """

    spec: IntakeSpec
    planned: PlannedItem
    again: bool = False
    key: str | None = None
    digest: str = ""
    asker: Asker | None = None
    by_flow_run: bool = False


@dataclass(frozen=True, slots=True)
class OrderedJob:
    """A job of a request as the ledger has it, and whether the request made it."""

    job: MadeJob
    created: bool


@dataclass(slots=True)
class Receipt:
    """What a group of requests became.

    Args:
        answers: The jobs of each request, in the order given, or why it was refused.
        submissions: What to send now, before `lease_until`.
        lease_until: From then on, a leg of their chunk may send them.
    """

    answers: list[Sequence[OrderedJob] | KeyReused]
    submissions: list[Submission]
    lease_until: datetime


def take(
    transaction: Transaction, orders: Sequence[Order], *, send: bool, lease_s: float
) -> Receipt:
    """Take a group of requests: make the jobs that are new, and find the others.

    New jobs are claimed for sending as far as their batch allows it. The others stay planned, and
    a leg of their chunk sends them.

    Args:
        transaction: The transaction to do it in.
        orders: The requests.
        send: Whether the caller sends what is claimed; otherwise nothing is claimed.
        lease_s: Seconds during which only the caller may send it.

    Raises:
        DestinationTaken: when two items would write to one destination.
    """
    # Two groups, or a group and a scan, must not both take a job for new.
    transaction.serialise("planning")
    lease_until = transaction.now + timedelta(seconds=lease_s)
    receipt = Receipt([()] * len(orders), [], lease_until)
    repeats = find_repeats(transaction, [(order.key, order.digest) for order in orders])
    fresh = {place: order for place, order in enumerate(orders) if place not in repeats}
    fresh = dict(zip(fresh, under_known_keys(transaction, list(fresh.values())), strict=True))
    batches = _lock_batches(transaction, [order.spec for order in fresh.values()])
    keys = dict.fromkeys(job.job_key for order in fresh.values() for job in order.planned.jobs)
    known: list[MadeJob] | None = lock_made(transaction, list(keys))
    existing = _by_key(known or ())
    made: dict[str, MadeJob] = {}
    for digest, batch in batches.items():
        for again in (False, True):
            group = [
                order.planned
                for order in fresh.values()
                if order.spec.digest == digest and order.again is again
            ]
            if group:
                new = NewJobs(transaction, batch, lease_until if send else None, again=again)
                made |= new.make(group, known)
                receipt.submissions += new.submissions
                known = None  # what a later group finds may be new
    claimed: set[int] = set()
    for place, order in fresh.items():
        receipt.answers[place] = [
            _ordered(order, job.job_key, existing, made, claimed) for job in order.planned.jobs
        ]
    _answer_repeats(transaction, repeats, receipt)
    _note(transaction, fresh, receipt)
    return receipt


def find_taken(
    transaction: Transaction, key: str, digest: str, *, renew: bool = False
) -> Sequence[OrderedJob] | None:
    """Find the jobs of a request that was taken before, as they are now.

    Args:
        transaction: The transaction to look in.
        key: Digest of its Idempotency-Key.
        digest: Digest of its body.
        renew: Keep the key as if the request had been made now.

    Returns:
        Its jobs; None if no request with this key and this body was taken.
    """
    repeats = find_repeats(transaction, [(key, digest)])
    if not repeats or not repeats[0].same_body:
        return None
    if renew:
        renew_answer(transaction, key)
    receipt = Receipt([()], [], transaction.now)
    _answer_repeats(transaction, repeats, receipt)
    answer = receipt.answers[0]
    return None if isinstance(answer, KeyReused) else answer


def under_known_keys(transaction: Transaction, orders: Sequence[Order]) -> list[Order]:
    """Give jobs that exist under another identity of their object the keys that they have.

    Args:
        transaction: The transaction to look in.
        orders: The requests.
    """
    known = same_jobs(transaction, [(order.planned, order.again) for order in orders])
    return [
        replace(order, planned=_with_keys(order.planned, keys)) if keys else order
        for order, keys in zip(orders, known, strict=True)
    ]


def _with_keys(planned: PlannedItem, keys: Mapping[str, str]) -> PlannedItem:
    jobs = [replace(job, job_key=keys.get(job.job_key, job.job_key)) for job in planned.jobs]
    return PlannedItem(planned.item, jobs)


def _lock_batches(transaction: Transaction, specs: Sequence[IntakeSpec]) -> dict[str, Accepting]:
    """Lock or open the batch of each digest."""
    wanted = {spec.digest: spec for spec in specs}
    if not wanted:
        return {}
    known = accepting_batches(transaction)
    for digest in sorted(known.keys() & wanted.keys()):
        # A leg takes this lock before it holds its batch, so it comes before the batch's.
        submissions_left(transaction, known[digest].id, known[digest].options)
    found: dict[str, Accepting] = {}
    for digest, spec in sorted(wanted.items()):
        batch = lock_accepting(transaction, known[digest].id) if digest in known else None
        found[digest] = batch or open_accepting(transaction, spec)
    return found


def _by_key(jobs: Iterable[MadeJob]) -> dict[str, list[MadeJob]]:
    found: dict[str, list[MadeJob]] = {}
    for job in jobs:
        found.setdefault(job.job_key, []).append(job)
    return found


def _ordered(
    order: Order,
    key: str,
    existing: Mapping[str, Sequence[MadeJob]],
    made: Mapping[str, MadeJob],
    claimed: set[int],
) -> OrderedJob:
    """The job that a request gets for one of its keys: what has succeeded, or is new, or is open.

    A key may have had several jobs; one of them at most has the claim.
    """
    earlier = sorted(existing.get(key, ()), key=lambda job: (job.claim is not None, job.id))
    succeeded = [job for job in earlier if job.state == JobState.SUCCEEDED]
    if succeeded and not order.again:
        return OrderedJob(succeeded[-1], created=False)
    if (new := made.get(key)) is not None:
        created = new.id not in claimed
        claimed.add(new.id)
        return OrderedJob(new, created=created)
    return OrderedJob(earlier[-1], created=False)


def _answer_repeats(
    transaction: Transaction, repeats: Mapping[int, Repeat], receipt: Receipt
) -> None:
    """Answer requests that came before with the jobs of the first, as they are now."""
    ids = [job for repeat in repeats.values() for job, _ in repeat.jobs]
    jobs = {job.id: job for job in read_made(transaction, ids)}
    for place, repeat in repeats.items():
        if repeat.same_body and repeat.first is not None:
            receipt.answers[place] = receipt.answers[repeat.first]
        elif repeat.same_body:
            receipt.answers[place] = [
                OrderedJob(jobs[job], created=created) for job, created in repeat.jobs
            ]
        else:
            receipt.answers[place] = KeyReused("Another body came with this Idempotency-Key.")


def _note(transaction: Transaction, orders: Mapping[int, Order], receipt: Receipt) -> None:
    """Keep answers of requests with a key, metadata of those that found a job, and who asked."""
    kept: list[Kept] = []
    following: list[Following] = []
    for place, order in orders.items():
        answer = receipt.answers[place]
        if isinstance(answer, KeyReused):
            continue
        # A row for each request of the API would double what a request costs, and say nothing that
        # its batch does not.
        if order.asker is not None and (order.again or order.asker.via is not Via.API):
            _record(transaction, order, order.asker, answer)
        if order.key is not None:
            jobs = [(each.job.id, each.created) for each in answer]
            kept.append(Kept(order.key, order.digest, jobs, by_flow_run=order.by_flow_run))
        following += [
            Following(each.job, spec.metadata)
            for each, spec in zip(answer, order.planned.jobs, strict=True)
            if not each.created
        ]
    keep_answers(transaction, kept)
    follow(transaction, following)


def _record(
    transaction: Transaction, order: Order, asker: Asker, answer: Sequence[OrderedJob]
) -> None:
    found = sum(not each.created for each in answer)
    outcome = f"{len(answer):,} {'job was' if len(answer) == 1 else 'jobs were'} asked for."
    if found:
        outcome += f" {found:,} of them existed already."
    record_action(
        transaction,
        actor=asker.name,
        via=asker.via,
        action="process again" if order.again else "process",
        outcome=outcome,
        batch=answer[0].job.batch_id if answer else None,
        details={
            "input": order.planned.item.shown,
            "profile": order.spec.name,
            "jobs": [each.job.id for each in answer],
        },
    )
