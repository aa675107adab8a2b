"""New jobs of requests: inserted into the growing chunk, and claimed for sending at once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import orjson
from sqlalchemy import update

from ittybatch.errors import IttybatchError
from ittybatch.ledger import identity, runs
from ittybatch.ledger.accepting import Accepting, growing_chunk, items_of
from ittybatch.ledger.allowance import allowance
from ittybatch.ledger.brakes import hold_at_ceiling, submissions_left
from ittybatch.ledger.bulk import insert_rows
from ittybatch.ledger.claims import Claims
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.followers import inherit
from ittybatch.ledger.made_jobs import MadeJob, jobs_made
from ittybatch.ledger.models import Chunk, Item, Job
from ittybatch.ledger.plan import PlannedItem, PlannedPage
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


class NewJobs:
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
