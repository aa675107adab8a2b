"""The first failures of a chunk, for the log of its flow run."""

from dataclasses import dataclass

from sqlalchemy import and_, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Item, Job
from ittybatch.ledger.states import JobState

_FAILED = (JobState.FAILED.value, JobState.EXPIRED.value)


@dataclass(frozen=True, slots=True)
class ChunkFailure:
    """A job of a chunk that did not succeed.

    Args:
        input: URI of its item.
        rendition: Name of its rendition.
        state: How it ended.
        why: Its error.
    """

    input: str
    rendition: str
    state: JobState
    why: str


def first_failures(transaction: Transaction, chunk: int, limit: int) -> list[ChunkFailure]:
    """The first jobs of a chunk that failed or expired, in the order of their items."""
    rows = transaction.rows(
        select(Item.uri, Job.rendition, Job.state, Job.error_kind, Job.error_message)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(Job.chunk_id == chunk, Job.state.in_(_FAILED))
        .order_by(Job.item_number, Job.id)
        .limit(limit)
    )
    return [
        ChunkFailure(
            row.uri,
            row.rendition,
            JobState(row.state),
            ": ".join(filter(None, (row.error_kind, row.error_message))) or "no reason given",
        )
        for row in rows
    ]
