"""The ledger as a source: jobs of a batch that did not succeed, to be made again."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import and_, select

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


def ended_jobs(
    transaction: Transaction, batch: str, states: Sequence[str], *, after: int, limit: int
) -> list[EndedJob]:
    """A batch's jobs in these states, by their rows, from right after one of them."""
    rows = transaction.rows(
        select(
            Job.id,
            Job.rendition,
            Job.kind,
            Job.options,
            Job.destination,
            Job.user_metadata,
            Job.job_key,
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
        .where(Chunk.batch_id == batch, Job.state.in_(states), Job.id > after)
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
            ),
        )
        for row in rows
    ]
