"""Finding one job by Ittybit's id or by the ledger's own."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import and_, func, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Attempt, Batch, Chunk, Item, Job
from ittybatch.ledger.states import BatchState, JobState

# Of a 64-bit integer, all of whose numbers with fewer digits exist.
_MAX_DIGITS = 18
_MAX_ID_CHARS = 200


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A job with its item, as the API shows it.

    Args:
        created_at: When it was first submitted; None if it has not been.
    """

    id: int
    task_id: str | None
    uri: str
    kind: str
    rendition: str
    state: JobState
    batch_id: str
    batch_state: BatchState
    output_url: str | None
    error_message: str | None
    metadata: dict[str, Any]
    created_at: datetime | None
    completed_at: datetime | None


def find_job(transaction: Transaction, given: str) -> FoundJob | None:
    """Find a job.

    Args:
        transaction: The transaction to look in.
        given: Ittybit's id of any of its attempts, or the ledger's id of the job.
    """
    if "\x00" in given or len(given) > _MAX_ID_CHARS:
        return None
    # Ittybit's first: if it should ever use plain numbers, they are what users have.
    job_id = transaction.execute(
        select(func.max(Attempt.job_id)).where(Attempt.task_id == given)
    ).scalar_one()
    if job_id is None:
        if not (given.isascii() and given.isdecimal() and len(given) <= _MAX_DIGITS):
            return None
        job_id = int(given)
    first_sent_at = (
        select(func.min(Attempt.sent_at)).where(Attempt.job_id == Job.id).scalar_subquery()
    )
    row = transaction.execute(
        select(
            Job.id,
            Job.task_id,
            Item.uri,
            Job.kind,
            Job.rendition,
            Job.state,
            Chunk.batch_id,
            Batch.state.label("batch_state"),
            Job.output_url,
            Job.error_message,
            Job.user_metadata,
            first_sent_at.label("created_at"),
            Job.completed_at,
        )
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Batch, Batch.id == Chunk.batch_id)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(Job.id == job_id)
    ).one_or_none()
    if row is None:
        return None
    return FoundJob(
        id=row.id,
        task_id=row.task_id,
        uri=row.uri,
        kind=row.kind,
        rendition=row.rendition,
        state=JobState(row.state),
        batch_id=row.batch_id,
        batch_state=BatchState(row.batch_state),
        output_url=row.output_url,
        error_message=row.error_message,
        metadata=orjson.loads(row.user_metadata),
        created_at=row.created_at,
        completed_at=row.completed_at,
    )
