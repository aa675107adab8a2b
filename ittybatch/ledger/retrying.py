"""The ledger as a source: jobs that did not succeed and are made again."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import aliased

from ittybatch.ittybit.options import Kind
from ittybatch.ittybit.reasons import fits, reason_of, words_of
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Chunk, Item, Job
from ittybatch.ledger.recorded import end_recorded_before
from ittybatch.ledger.states import JobState
from ittybatch.profiles import Item as SourceItem
from ittybatch.profiles import JobSpec

_ESCAPE = "\\"


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that ended without success, as it would be made again."""

    id: int
    item: SourceItem
    job: JobSpec


@dataclass(frozen=True, slots=True)
class RetryFilter:
    """Which ended jobs to find.

    Args:
        batch: The batch; None for all batches.
        states: The states they ended in.
        reason: Text that the error's kind or message contains, ignoring case.
        since: Ended at this time or later.
        before: Ended before this time.
        jobs: Only the jobs with these ids; None for every job.
        alike: Failed for this reason, whatever numbers, ids and names their errors have: a reason
            of `reason_of`, or the message of one of them.
        skip_retried: Whether to leave out jobs that a later batch has made, or will make.
        recorded_before: The ledger had recorded their end before this time, by its own clock.
    """

    batch: str | None
    states: Sequence[str]
    reason: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    jobs: Sequence[int] | None = None
    alike: str | None = None
    skip_retried: bool = False
    recorded_before: datetime | None = None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """The conditions on jobs and their chunks."""
        found: list[ColumnElement[bool]] = [Job.state.in_(self.states)]
        if self.batch is not None:
            found.append(Chunk.batch_id == self.batch)
        if self.jobs is not None:
            found.append(Job.id.in_(self.jobs))
        if self.reason is not None:
            texts = (Job.error_kind, Job.error_message)
            found.append(or_(*(each.icontains(self.reason, autoescape=True) for each in texts)))
        if self.since is not None:
            found.append(Job.completed_at >= self.since)
        if self.before is not None:
            found.append(Job.completed_at < self.before)
        if self.recorded_before is not None:
            found.append(end_recorded_before(self.recorded_before))
        if self.skip_retried:
            later = aliased(Job)
            taken_up = later.state != JobState.CANCELLED.value
            found.append(~exists().where(later.job_key == Job.job_key, later.id > Job.id, taken_up))
        if self.alike is not None:
            # The condition of an index.
            found.append(Job.error_message.is_not(None))
        # Databases cannot compute a reason. This leaves out most jobs that have another one.
        if self.alike and (words := words_of(reason_of(None, self.alike))):
            pattern = "%".join(["", *(_escaped(word) for word in words), ""])
            message = func.coalesce(func.nullif(Job.error_message, ""), Job.error_kind)
            found.append(message.like(pattern, escape=_ESCAPE))
        return found

    def fits(self, row: Any) -> bool:  # noqa: ANN401  a row with the error's kind and message
        """Whether a job that meets the conditions also has the reason."""
        return self.alike is None or fits(self.alike, row.error_kind, row.error_message)


def batches_with(transaction: Transaction, wanted: RetryFilter) -> list[str]:
    """The batches that have jobs that match."""
    rows = transaction.rows(
        select(Chunk.batch_id)
        .distinct()
        .join(Job, Job.chunk_id == Chunk.id)
        .where(*wanted.conditions)
        .order_by(Chunk.batch_id)
    )
    return [row.batch_id for row in rows]


def ended_jobs(
    transaction: Transaction, wanted: RetryFilter, *, after: int, limit: int
) -> list[EndedJob]:
    """Jobs that ended without success, in the order of their ids.

    Args:
        transaction: The transaction to look in.
        wanted: Which jobs to find.
        after: Only jobs with a larger id.
        limit: The maximum number. If not all jobs have the reason, there may be more after fewer.
    """
    rows = _some_that_fit(
        transaction,
        wanted,
        after,
        limit,
        select(
            Job.id,
            Job.error_kind,
            Job.error_message,
            Job.rendition,
            Job.kind,
            Job.options,
            Job.destination,
            Job.user_metadata,
            Job.job_key,
            Job.recipe,
            Job.attempts,
            Job.deadline_s,
            Job.backoff_s,
            Item.uri,
            Item.fingerprint,
            Item.size_bytes,
            Item.modified_at,
            Item.line,
        )
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number)),
    )
    return [
        EndedJob(
            id=row.id,
            item=SourceItem(
                row.uri,
                fingerprint=row.fingerprint,
                size_bytes=row.size_bytes,
                modified_at=row.modified_at,
                line=row.line,
            ),
            job=JobSpec(
                rendition=row.rendition,
                kind=Kind(row.kind),
                input=row.uri,
                options=orjson.loads(row.options),
                destination=row.destination,
                metadata=orjson.loads(row.user_metadata),
                attempts=row.attempts,
                deadline_s=row.deadline_s,
                backoff_s=row.backoff_s,
                job_key=row.job_key,
                recipe=row.recipe,
            ),
        )
        for row in rows
    ]


def count_ended(transaction: Transaction, wanted: RetryFilter) -> Counter[str]:
    """How many ended jobs match, by kind.

    Args:
        transaction: The transaction to look in.
        wanted: Which jobs to count.
    """
    # By message, because many jobs share one: a reason is computed once for each.
    by = (Job.kind,) if wanted.alike is None else (Job.kind, Job.error_kind, Job.error_message)
    rows = transaction.rows(
        select(*by, func.count().label("jobs"))
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(*wanted.conditions)
        .group_by(*by)
    )
    found: Counter[str] = Counter()
    for row in rows:
        if wanted.fits(row):
            found[row.kind] += row.jobs
    return found


def _some_that_fit(
    transaction: Transaction,
    wanted: RetryFilter,
    after: int,
    limit: int,
    query: Any,  # noqa: ANN401  a Select of many columns
) -> list[Any]:
    """The rows of a page that fit; of the next page if none does. None fits after the last."""
    while True:
        rows = transaction.rows(
            query.where(*wanted.conditions, Job.id > after).order_by(Job.id).limit(limit)
        )
        fitting = [row for row in rows if wanted.fits(row)]
        if fitting or len(rows) < limit:
            return fitting
        after = rows[-1].id


def _escaped(word: str) -> str:
    for special in (_ESCAPE, "%", "_"):
        word = word.replace(special, _ESCAPE + special)
    return word
