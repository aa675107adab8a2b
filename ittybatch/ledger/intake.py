"""Intake: requests become items and jobs of today's batch, claimed for sending at once.

A group of requests is taken in one transaction. The process that took them sends their jobs. Until
the lease of a job ends, no leg of its chunk sends it; if the process dies, a leg sends it again
after that, under the same Idempotency-Key.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from sqlalchemy import update

from ittybatch.errors import IttybatchError
from ittybatch.ledger import identity, runs
from ittybatch.ledger.accepting import (
    Accepting,
    IntakeSpec,
    accepting_batches,
    growing_chunk,
    items_of,
    lock_accepting,
    open_accepting,
)
from ittybatch.ledger.allowance import allowance
from ittybatch.ledger.brakes import hold_at_ceiling, submissions_left
from ittybatch.ledger.bulk import insert_rows
from ittybatch.ledger.claims import Claims
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.followers import Following, follow, inherit
from ittybatch.ledger.made_jobs import MadeJob, jobs_made, lock_made, read_made
from ittybatch.ledger.models import Chunk, Item, Job
from ittybatch.ledger.plan import PlannedItem, PlannedPage
from ittybatch.ledger.requests import Kept, Repeat, find_repeats, keep_answers
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import Submission, begin_attempts
from ittybatch.profiles import Item as SourceItem
from ittybatch.profiles import JobSpec

_ITEM_COLUMNS = ("chunk_id", "number", "uri", "fingerprint", "size_bytes", "modified_at", "line")
_JOB_COLUMNS = (
    "chunk_id", "item_number", "rendition", "kind", "options", "destination", "user_metadata",
    "job_key", "recipe", "claim", "state", "attempt", "attempts", "last_attempt", "backoff_s",
    "deadline_s", "not_before", "deadline_at",
)  # fmt: skip


class DestinationTaken(IttybatchError):
    """Another item has the destination of a job; nothing of the whole group was stored."""


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
    """

    spec: IntakeSpec
    planned: PlannedItem
    again: bool = False
    key: str | None = None
    digest: str = ""


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
    batches = _lock_batches(transaction, [order.spec for order in fresh.values()])
    keys = dict.fromkeys(job.job_key for order in fresh.values() for job in order.planned.jobs)
    existing = _by_key(lock_made(transaction, list(keys)))
    made: dict[str, MadeJob] = {}
    for digest, batch in batches.items():
        for again in (False, True):
            group = [
                order.planned
                for order in fresh.values()
                if order.spec.digest == digest and order.again is again
            ]
            if group:
                new = _NewJobs(transaction, batch, lease_until if send else None, again=again)
                made |= new.make(group)
                receipt.submissions += new.submissions
    claimed: set[int] = set()
    for place, order in fresh.items():
        receipt.answers[place] = [
            _ordered(order, job.job_key, existing, made, claimed) for job in order.planned.jobs
        ]
    _answer_repeats(transaction, repeats, receipt)
    _note(transaction, fresh, receipt)
    return receipt


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
    """Keep the answers of requests with a key, and the metadata of those that found a job."""
    kept: list[Kept] = []
    following: list[Following] = []
    for place, order in orders.items():
        answer = receipt.answers[place]
        if isinstance(answer, KeyReused):
            continue
        if order.key is not None:
            jobs = [(each.job.id, each.created) for each in answer]
            kept.append(Kept(order.key, order.digest, jobs))
        following += [
            Following(each.job, spec.metadata)
            for each, spec in zip(answer, order.planned.jobs, strict=True)
            if not each.created
        ]
    keep_answers(transaction, kept)
    follow(transaction, following)


class _NewJobs:
    """Makes the jobs of one batch that nobody has made.

    Args:
        transaction: The transaction to do it in.
        batch: The batch, locked.
        lease_until: Until then the caller sends what is claimed; None to claim nothing.
        again: Whether jobs that have ended are made again.
    """

    def __init__(
        self,
        transaction: Transaction,
        batch: Accepting,
        lease_until: datetime | None,
        *,
        again: bool,
    ) -> None:
        self._transaction = transaction
        self._batch = batch
        self._lease_until = lease_until
        self._again = again
        self._claimed: dict[str, _NewRow] = {}
        self.submissions: list[Submission] = []

    def make(self, group: Sequence[PlannedItem]) -> dict[str, MadeJob]:
        """Make the new jobs of some items; return them by their keys."""
        transaction, batch = self._transaction, self._batch
        page = PlannedPage(group, [], {}, "", remake=self._again)
        claims = Claims(transaction, batch.id, page, growing=True)
        new = claims.sort(page, Counter())
        if claims.refused:
            raise DestinationTaken(claims.refused[0].reason)
        if not new:
            return {}
        claims.take_over(transaction)
        wanted = sum(len(item.jobs) for item in new)
        allowed = 0
        if self._lease_until is not None:
            allowed = allowance(transaction, batch, wanted)
        self._insert(new, claims.attempts, allowed)
        inherit(transaction, claims.taken_over, own=True)
        if allowed < wanted and submissions_left(transaction, batch.id, batch.options) == 0:
            hold_at_ceiling(transaction, batch.id)
        keys = [job.job_key for item in new for job in item.jobs]
        made = {job.job_key: job for job in jobs_made(transaction, keys) if job.claim}
        self._begin_attempts(made)
        return made

    def _insert(
        self, new: Sequence[PlannedItem], attempts: Mapping[str, int], allowed: int
    ) -> None:
        number = items_of(self._transaction, self._batch.id)
        left = list(new)
        while left:
            chunk = growing_chunk(self._transaction, self._batch)
            part, left = left[: chunk.room], left[chunk.room :]
            items: list[tuple[object, ...]] = []
            jobs: list[tuple[object, ...]] = []
            before = allowed
            for planned in part:
                items.append(_item_row(chunk.id, number, planned.item))
                for job in planned.jobs:
                    # An attempt's number is part of its Idempotency-Key: see `plan_page`.
                    row = _NewRow(job, number, attempts.get(job.job_key, 0), sends=allowed > 0)
                    allowed -= row.sends
                    jobs.append(row.values(chunk.id, self._transaction.now, self._lease_until))
                    if row.sends:
                        self._claimed[job.job_key] = row
                number += 1
            insert_rows(self._transaction, Item, _ITEM_COLUMNS, items)
            insert_rows(self._transaction, Job, _JOB_COLUMNS, jobs)
            self._count(chunk.id, items=len(items), jobs=len(jobs), sent=before - allowed)

    def _count(self, chunk: int, *, items: int, jobs: int, sent: int) -> None:
        """Count what was added to a chunk, and set when a leg of it has to look after that."""
        self._transaction.execute(
            update(Chunk)
            .where(Chunk.id == chunk)
            .values(
                items=Chunk.items + items,
                planned=Chunk.planned + jobs - sent,
                in_flight=Chunk.in_flight + sent,
                sent=Chunk.sent + sent,
            )
        )
        times = [self._lease_until] if sent and self._lease_until is not None else []
        if jobs > sent:
            now = self._transaction.now
            times.append(max(self._batch.closed_until or now, now))
        runs.wake_chunks_at(self._transaction, {chunk: min(times)})

    def _begin_attempts(self, made: Mapping[str, MadeJob]) -> None:
        self.submissions = [
            row.submission(made[key].id, self._batch.id, self._transaction.now)
            for key, row in self._claimed.items()
        ]
        begin_attempts(self._transaction, self.submissions)


def _item_row(chunk: int, number: int, item: SourceItem) -> tuple[object, ...]:
    return (
        chunk, number, item.uri, item.fingerprint, item.size_bytes, item.modified_at, item.line,
    )  # fmt: skip


class _NewRow:
    """A job to insert, and its first submission if it is claimed at once."""

    def __init__(self, job: JobSpec, number: int, attempts: int, *, sends: bool) -> None:
        self._job = job
        self._number = number
        self._attempts = attempts
        self.sends = sends
        self._options = orjson.dumps(job.options, option=orjson.OPT_SORT_KEYS).decode()
        self._metadata = orjson.dumps(job.metadata).decode()

    def values(self, chunk: int, now: datetime, lease_until: datetime | None) -> tuple[object, ...]:
        """The values of its columns."""
        job = self._job
        deadline_at = now + timedelta(seconds=job.deadline_s)
        return (
            chunk,
            self._number,
            job.rendition,
            job.kind.value,
            self._options,
            job.destination,
            self._metadata,
            job.job_key,
            job.recipe,
            True,
            JobState.SUBMITTING.value if self.sends else JobState.PLANNED.value,
            self._attempts + self.sends,
            job.attempts,
            self._attempts + job.attempts,
            job.backoff_s,
            job.deadline_s,
            lease_until if self.sends else None,
            deadline_at if self.sends else None,
        )

    def submission(self, job: int, batch: str, now: datetime) -> Submission:
        """The submission, with the same content as a leg that reads it from the ledger sends."""
        spec, attempt = self._job, self._attempts + 1
        return Submission(
            job_id=job,
            attempt=attempt,
            idempotency_key=identity.idempotency_key(spec.job_key, attempt),
            first_sent_at=now,
            batch_id=batch,
            job_key=spec.job_key,
            item_number=self._number,
            rendition=spec.rendition,
            input=spec.input,
            kind=spec.kind.value,
            options=orjson.loads(self._options),
            destination=spec.destination,
            metadata=orjson.loads(self._metadata),
        )
