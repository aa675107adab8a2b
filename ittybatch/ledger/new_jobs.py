"""New jobs of requests: inserted into the growing chunk, and claimed for sending at once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    FromClause,
    Insert,
    Integer,
    Text,
    insert,
    select,
    update,
)

from ittybatch.errors import IttybatchError
from ittybatch.ledger import identity, runs
from ittybatch.ledger.accepting import Accepting, growing_chunk
from ittybatch.ledger.allowance import allowance
from ittybatch.ledger.brakes import hold_at_ceiling, submissions_left
from ittybatch.ledger.bulk import BulkStatement, Columns
from ittybatch.ledger.claims import Claims
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.followers import inherit
from ittybatch.ledger.made_jobs import MadeJob
from ittybatch.ledger.models import Base, Chunk, Item, Job, UtcDateTime
from ittybatch.ledger.plan import PlannedItem, PlannedPage
from ittybatch.ledger.states import BatchState, JobState
from ittybatch.ledger.submission import Submission, begin_attempts
from ittybatch.profiles import Item as SourceItem
from ittybatch.profiles import JobSpec


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
        self._rows: dict[str, _NewRow] = {}
        self._ids: dict[str, int] = {}
        self.submissions: list[Submission] = []

    def make(
        self, group: Sequence[PlannedItem], known: Sequence[MadeJob] | None = None
    ) -> dict[str, MadeJob]:
        """Make the new jobs of some items; return them by their keys.

        Args:
            group: The items.
            known: The jobs that exist with their keys, if the caller has looked them up.
        """
        transaction, batch = self._transaction, self._batch
        page = PlannedPage(group, [], {}, "", remake=self._again, versions=True)
        claims = Claims(transaction, batch.id, page, growing=True, known=known)
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
        state = batch.state
        if allowed < wanted and submissions_left(transaction, batch.id, batch.options) == 0:
            hold_at_ceiling(transaction, batch.id, batch.options)
            state = BatchState.HELD
        self._begin_attempts()
        return {key: row.made(self._ids[key], batch.id, state) for key, row in self._rows.items()}

    def _insert(
        self, new: Sequence[PlannedItem], attempts: Mapping[str, int], allowed: int
    ) -> None:
        left = list(new)
        while left:
            chunk = growing_chunk(self._transaction, self._batch)
            part, left = left[: chunk.room], left[chunk.room :]
            items: list[dict[str, object]] = []
            jobs: list[dict[str, object]] = []
            before = allowed
            for number, planned in enumerate(part, chunk.next_number):
                items.append(_item_row(chunk.id, number, planned.item))
                for job in planned.jobs:
                    # An attempt's number is part of its Idempotency-Key: see `plan_page`.
                    made = attempts.get(job.job_key, 0)
                    row = _NewRow(job, chunk.id, number, made, sends=allowed > 0)
                    allowed -= row.sends
                    jobs.append(row.values(self._transaction.now, self._lease_until))
                    self._rows[job.job_key] = row
            _INSERT_ITEMS.run(self._transaction, items)
            inserted = _INSERT_JOBS.fetch(self._transaction, jobs)
            self._ids.update((row.job_key, row.id) for row in inserted)
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

    def _begin_attempts(self) -> None:
        self.submissions = [
            row.submission(self._ids[key], self._batch.id, self._transaction.now)
            for key, row in self._rows.items()
            if row.sends
        ]
        begin_attempts(self._transaction, self.submissions)


def _item_row(chunk: int, number: int, item: SourceItem) -> dict[str, object]:
    return {
        "chunk_id": chunk,
        "number": number,
        "uri": item.uri,
        "fingerprint": item.fingerprint,
        "size_bytes": item.size_bytes,
        "modified_at": item.modified_at,
        "line": item.line,
    }


class _NewRow:
    """A job to insert, and its first submission if it is claimed at once."""

    def __init__(
        self, job: JobSpec, chunk: int, number: int, attempts: int, *, sends: bool
    ) -> None:
        self._job = job
        self._chunk = chunk
        self._number = number
        self._attempts = attempts
        self.sends = sends
        self._options = orjson.dumps(job.options, option=orjson.OPT_SORT_KEYS).decode()
        self._metadata = orjson.dumps(job.metadata).decode()

    @property
    def _state(self) -> JobState:
        return JobState.SUBMITTING if self.sends else JobState.PLANNED

    def values(self, now: datetime, lease_until: datetime | None) -> dict[str, object]:
        """The values of its columns."""
        job = self._job
        deadline_at = now + timedelta(seconds=job.deadline_s)
        return {
            "chunk_id": self._chunk,
            "item_number": self._number,
            "rendition": job.rendition,
            "kind": job.kind.value,
            "options": self._options,
            "destination": job.destination,
            "user_metadata": self._metadata,
            "job_key": job.job_key,
            "recipe": job.recipe,
            "claim": True,
            "state": self._state.value,
            "attempt": self._attempts + self.sends,
            "attempts": job.attempts,
            "last_attempt": self._attempts + job.attempts,
            "backoff_s": job.backoff_s,
            "deadline_s": job.deadline_s,
            "not_before": lease_until if self.sends else None,
            "deadline_at": deadline_at if self.sends else None,
        }

    def made(self, job: int, batch: str, batch_state: BatchState) -> MadeJob:
        """The job as it is in the ledger now."""
        return MadeJob(
            id=job,
            chunk_id=self._chunk,
            job_key=self._job.job_key,
            claim=True,
            state=self._state.value,
            attempt=self._attempts + self.sends,
            rendition=self._job.rendition,
            kind=self._job.kind.value,
            task_id=None,
            output_url=None,
            error_kind=None,
            error_message=None,
            user_metadata=self._metadata,
            batch_id=batch,
            batch_state=batch_state.value,
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


def _insert(into: type[Base], given: FromClause) -> Insert:
    names = list(given.c.keys())
    return insert(into).from_select(names, select(*given.c), include_defaults=False)


_ITEM_COLUMNS: Columns = {
    "chunk_id": BigInteger,
    "number": Integer,
    "uri": Text,
    "fingerprint": Text,
    "size_bytes": BigInteger,
    "modified_at": UtcDateTime,
    "line": Integer,
}
_JOB_COLUMNS: Columns = {
    "chunk_id": BigInteger,
    "item_number": Integer,
    "rendition": Text,
    "kind": Text,
    "options": Text,
    "destination": Text,
    "user_metadata": Text,
    "job_key": Text,
    "recipe": Text,
    "claim": Boolean,
    "state": Text,
    "attempt": Integer,
    "attempts": Integer,
    "last_attempt": Integer,
    "backoff_s": Double,
    "deadline_s": Double,
    "not_before": UtcDateTime,
    "deadline_at": UtcDateTime,
}
# Not COPY, as planning has it: a group is small, and the ids are needed.
_INSERT_ITEMS = BulkStatement(_ITEM_COLUMNS, lambda given: _insert(Item, given))
_INSERT_JOBS = BulkStatement(
    _JOB_COLUMNS, lambda given: _insert(Job, given).returning(Job.id, Job.job_key)
)
