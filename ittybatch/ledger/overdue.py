"""Overdue jobs: no webhook or poll has reported on them for too long."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, or_, select, update

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Attempt, Chunk, Item, Job
from ittybatch.ledger.states import ChunkState, JobState

_REPOLL_PAST_DEADLINE_S = 5.0
# A job that Ittybit never accepted is sent again at its deadline, this many times.
_MAX_DEADLINES = 3


@dataclass(frozen=True, slots=True)
class OverdueJob:
    """A job in flight that is overdue.

    `task_id` is None if no response to its submission was recorded. `deadlines_exhausted` says
    that several of its deadlines have passed since it was first sent, and that Ittybit did not
    accept it the last time either. Time in which no worker could send it does not count.
    """

    id: int
    chunk_id: int
    attempt: int
    task_id: str | None
    past_deadline: bool
    deadlines_exhausted: bool
    batch_id: str
    job_key: str
    input: str
    kind: str


def overdue_jobs(
    transaction: Transaction,
    *,
    silent_s: float,
    chunk: int | None = None,
    limit: int = 1000,
) -> list[OverdueJob]:
    """Jobs in flight without news for `silent_s`, or past their deadline.

    Args:
        transaction: The transaction to look in.
        silent_s: Seconds since the submission, or since the last poll.
        chunk: Only jobs of this chunk, if given.
        limit: The maximum number, those longest without news first.
    """
    now = transaction.now
    last_news = func.coalesce(Job.polled_at, Job.submitted_at)
    past_deadline = and_(
        Job.deadline_at <= now,
        or_(
            Job.polled_at.is_(None),
            Job.polled_at <= now - timedelta(seconds=_REPOLL_PAST_DEADLINE_S),
        ),
    )
    silent = and_(
        Job.state == JobState.SUBMITTED.value, last_news <= now - timedelta(seconds=silent_s)
    )
    query = (
        _sent()
        .where(
            # Only released chunks, which are few, have jobs in flight.
            Chunk.state == ChunkState.RELEASED.value if chunk is None else Chunk.id == chunk,
            Job.state.in_([JobState.SUBMITTING.value, JobState.SUBMITTED.value]),
            or_(silent, past_deadline),
        )
        .order_by(last_news)
        .limit(limit)
    )
    return [_overdue(row, now) for row in transaction.rows(query)]


def expired_jobs(
    transaction: Transaction, batch: str, *, after: int = 0, limit: int = 1000
) -> list[OverdueJob]:
    """A batch's expired jobs, in the order of their ids.

    Args:
        transaction: The transaction to look in.
        batch: The batch.
        after: Only jobs with a larger id.
        limit: The maximum number.
    """
    query = (
        _sent()
        .where(
            Chunk.batch_id == batch,
            Chunk.expired > 0,
            Job.state == JobState.EXPIRED.value,
            Job.id > after,
        )
        .order_by(Job.id)
        .limit(limit)
    )
    return [_overdue(row, transaction.now) for row in transaction.rows(query)]


def note_polled(transaction: Transaction, jobs: Sequence[int]) -> None:
    """Record that these jobs were polled, successfully or not."""
    if jobs:
        transaction.execute(update(Job).where(Job.id.in_(jobs)).values(polled_at=transaction.now))


def note_answered(transaction: Transaction, jobs: Sequence[int]) -> None:
    """Record that Ittybit answered about these jobs: earlier problems are over."""
    if jobs:
        transaction.execute(
            update(Job)
            .where(Job.id.in_(jobs), Job.failed_requests > 0)
            .values(failed_requests=0, failed_late=0, last_problem=None)
        )


def _sent() -> Any:  # noqa: ANN401  a Select of many columns
    return (
        select(
            Job.id,
            Job.chunk_id,
            Job.attempt,
            Attempt.task_id,
            Job.deadline_at,
            Job.deadline_s,
            Job.failed_requests,
            Attempt.sent_at,
            Chunk.batch_id,
            Job.job_key,
            Item.uri,
            Job.kind,
        )
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .join(Attempt, and_(Attempt.job_id == Job.id, Attempt.number == Job.attempt))
    )


def _overdue(row: Any, now: datetime) -> OverdueJob:  # noqa: ANN401  a row of _sent
    return OverdueJob(
        id=row.id,
        chunk_id=row.chunk_id,
        attempt=row.attempt,
        task_id=row.task_id,
        past_deadline=row.deadline_at is not None and row.deadline_at <= now,
        deadlines_exhausted=row.failed_requests > 0
        and now - row.sent_at > _MAX_DEADLINES * timedelta(seconds=row.deadline_s),
        batch_id=row.batch_id,
        job_key=row.job_key,
        input=row.uri,
        kind=row.kind,
    )
