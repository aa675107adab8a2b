"""The ledger as a source: jobs that did not succeed and are made again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import ColumnElement, and_, or_, select

from ittybatch.ittybit.options import Kind
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Chunk, Item, Job
from ittybatch.profiles import Item as SourceItem
from ittybatch.profiles import JobSpec


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
    """

    batch: str | None
    states: Sequence[str]
    reason: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    jobs: Sequence[int] | None = None

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
        return found


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
        limit: The maximum number.
    """
    rows = transaction.rows(
        select(
            Job.id,
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
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(*wanted.conditions, Job.id > after)
        .order_by(Job.id)
        .limit(limit)
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
