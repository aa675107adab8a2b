"""One job, looked up by Ittybit's id or by the ledger's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import and_, func, select
from sqlalchemy.orm import aliased

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.made_jobs import UNSUCCESSFUL, error_of, status_of
from ittybatch.ledger.models import Attempt, Batch, Chunk, Item, Job
from ittybatch.ledger.states import JobState

# Of a 64-bit number; a longer one is no id of ours.
_MAX_DIGITS = 18
_MAX_ID_CHARS = 200


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job, as `GET /jobs/{id}` shows it.

    Args:
        id: The ledger's id.
        task_id: Ittybit's id of its newest attempt; None before Ittybit has accepted it.
        input_url: URL of the input.
        status: processing, succeeded, failed, cancelled, expired or held.
        output_url: URL of the output, once it has succeeded.
        created_at: When it was first claimed for sending; before that, when its batch began.
        completed_at: When it ended.
        error: Why it failed, if it did.
        metadata: The user's own pairs.
        rendition: Name of the rendition.
        kind: Kind of job.
        batch_id: Its batch.
    """

    id: int
    task_id: str | None
    input_url: str
    status: str
    output_url: str | None
    created_at: datetime
    completed_at: datetime | None
    error: str | None
    metadata: Mapping[str, Any]
    rendition: str
    kind: str
    batch_id: str


def lookup_job(transaction: Transaction, id: str) -> JobRow | None:  # noqa: A002  as in the API
    """Find a job by Ittybit's id of one of its attempts, or by the ledger's id.

    Args:
        transaction: The transaction to look in.
        id: The id, as a client sent it.
    """
    job = _job_of_task(transaction, id)
    if job is None and id.isascii() and id.isdigit() and len(id) <= _MAX_DIGITS:
        job = int(id)
    return None if job is None else read_job(transaction, job)


def _job_of_task(transaction: Transaction, task: str) -> int | None:
    if not task or len(task) > _MAX_ID_CHARS or "\x00" in task:
        return None
    rows = transaction.rows(
        select(Attempt.job_id)
        .where(Attempt.task_id == task)
        .order_by(Attempt.job_id.desc())
        .limit(1)
    )
    return rows[0].job_id if rows else None


def read_job(transaction: Transaction, job: int) -> JobRow | None:
    """Read a job by the ledger's id; None if there is none."""
    first_sent_at = (
        select(func.min(Attempt.sent_at)).where(Attempt.job_id == Job.id).scalar_subquery()
    )
    rows = transaction.rows(
        select(
            Job.id,
            Job.task_id,
            Job.state,
            Job.output_url,
            Job.completed_at,
            Job.error_kind,
            Job.error_message,
            Job.user_metadata,
            Job.rendition,
            Job.kind,
            Item.uri,
            Batch.id.label("batch_id"),
            Batch.state.label("batch_state"),
            func.coalesce(first_sent_at, Batch.created_at).label("created_at"),
        )
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Batch, Batch.id == Chunk.batch_id)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(Job.id == job)
    )
    if not rows:
        return None
    row = rows[0]
    status = status_of(row.state, row.batch_state)
    return JobRow(
        id=row.id,
        task_id=row.task_id,
        input_url=row.uri,
        status=status,
        output_url=row.output_url,
        created_at=row.created_at,
        completed_at=row.completed_at,
        error=error_of(status, row.error_kind, row.error_message),
        metadata=orjson.loads(row.user_metadata),
        rendition=row.rendition,
        kind=row.kind,
        batch_id=row.batch_id,
    )


def read_current_job(transaction: Transaction, job: int) -> JobRow | None:
    """Read a job, or if it ended without success, the one that was made again in its place.

    Args:
        transaction: The transaction to look in.
        job: The ledger's id of the job.

    Returns:
        Of several that were made again, one that has succeeded, or is open, or else the newest;
        None if there is no such job.
    """
    later = aliased(Job)
    made_again = (
        select(later.id, later.state)
        .join(Job, Job.job_key == later.job_key)
        .where(Job.id == job, Job.state.in_(UNSUCCESSFUL), later.id > job)
        .order_by(later.id)
    )
    # The last of the best.
    current = max(
        ((_rank(JobState(row.state)), row.id) for row in transaction.rows(made_again)),
        default=(0, job),
    )
    return read_job(transaction, current[1])


def _rank(state: JobState) -> int:
    if state is JobState.SUCCEEDED:
        return 2
    return 0 if state.terminal else 1
