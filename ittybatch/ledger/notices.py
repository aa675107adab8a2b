"""Notices: what happened to batches and chunks, for Prefect's events.

A notice is written in the transaction of the change, so none is lost and none is invented. A waker
claims it, sends it and removes it. If it dies in between, another sends it a minute later, under
the same id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, literal, or_, select, update

from ittybatch.ledger.counters import COLUMNS
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Job, Notice, Run
from ittybatch.ledger.states import JobState

# Prefect's triggers look at recent events only.
_STALE_AFTER = timedelta(days=1)
_AT_ONCE = 200
_CLAIM_LASTS = timedelta(minutes=1)
_MAY_BE_HELD = (JobState.FAILED.value, JobState.EXPIRED.value)


class Event(StrEnum):
    """The events, without the prefix `ittybatch.`."""

    PLANNED = "batch.planned"
    UNAPPROVED = "batch.unapproved"
    HELD = "batch.held"
    RESUMED = "batch.resumed"
    ENDED = "batch.ended"
    CHUNK_DONE = "chunk.done"
    QUARANTINED = "job.quarantined"


@dataclass(frozen=True, slots=True)
class Pending:
    """A notice that Prefect has not been sent yet.

    Args:
        id: The notice's id.
        event: The event's name, without the prefix.
        batch_id: The batch.
        batch_name: The batch's name.
        profile: Name of the batch's profile.
        flow_run_id: The flow run that works for the batch; None outside Prefect.
        at: When it happened.
        details: The payload, by name.
    """

    id: int
    event: str
    batch_id: str
    batch_name: str
    profile: str
    flow_run_id: str | None
    at: datetime
    details: Mapping[str, Any]


def notify(transaction: Transaction, event: Event, batch: str, **details: object) -> None:
    """Write a notice in the transaction of the change that it reports.

    Args:
        transaction: The transaction of the change.
        event: What happened.
        batch: To which batch.
        details: The payload, by name: JSON values.
    """
    transaction.execute(
        insert(Notice).values(
            event=event.value, batch_id=batch, at=transaction.now, details=details
        )
    )


def notify_chunk_done(transaction: Transaction, chunk: int) -> None:
    """Write the notices of a chunk that is done: its counts, and how many jobs it holds back."""
    columns = [getattr(Chunk, name) for name in COLUMNS]
    row = transaction.execute(
        select(Chunk.batch_id, Chunk.number, Chunk.items, *columns).where(Chunk.id == chunk)
    ).one()
    counts = {name: getattr(row, name) for name in COLUMNS}
    place = {"batch": row.batch_id, "chunk": row.number}
    notify(transaction, Event.CHUNK_DONE, **place, items=row.items, counts=counts)
    held = select(func.count()).where(
        Job.chunk_id == chunk, Job.state.in_(_MAY_BE_HELD), Job.claim.is_not(None)
    )
    if (row.failed or row.expired) and (jobs := transaction.execute(held).scalar_one()):
        notify(transaction, Event.QUARANTINED, **place, jobs=jobs)


def notices_wait(transaction: Transaction) -> bool:
    """Whether there is a notice that a waker may claim."""
    query = select(Notice.id).where(_is_free(transaction)).limit(1)
    return bool(transaction.rows(query))


def claim_notices(transaction: Transaction) -> list[Pending]:
    """Claim the oldest notices, at most a request's worth. Two wakers get different ones."""
    free = (
        select(Notice.id)
        .where(_is_free(transaction))
        .order_by(Notice.id)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    ids = [row.id for row in transaction.rows(free)]
    transaction.execute(update(Notice).where(Notice.id.in_(ids)).values(claimed_at=transaction.now))
    rows = transaction.rows(
        select(
            *Notice.__table__.columns,
            Batch.name.label("batch_name"),
            Batch.profile.label("frozen"),
            Run.flow_run_id,
        )
        .join(Batch, Batch.id == Notice.batch_id)
        .outerjoin(Run, Run.owner == literal("batch:") + Notice.batch_id)
        .where(Notice.id.in_(ids))
        .order_by(Notice.id)
    )
    return [
        Pending(
            id=row.id,
            # A text: a newer version of the program may write events that this one does not know.
            event=row.event,
            batch_id=row.batch_id,
            batch_name=row.batch_name,
            profile=str(row.frozen.get("name", "")),
            flow_run_id=row.flow_run_id,
            at=row.at,
            details=row.details,
        )
        for row in rows
    ]


def remove_notices(transaction: Transaction, ids: Sequence[int]) -> None:
    """Remove notices that were sent."""
    transaction.execute(delete(Notice).where(Notice.id.in_(ids)))


def remove_stale_notices(transaction: Transaction) -> int:
    """Remove notices that are too old for any trigger; nobody sent them for a day.

    Returns:
        How many.
    """
    stale = delete(Notice).where(Notice.at < transaction.now - _STALE_AFTER)
    return transaction.execute(stale).rowcount


def _is_free(transaction: Transaction) -> ColumnElement[bool]:
    return or_(Notice.claimed_at.is_(None), Notice.claimed_at <= transaction.now - _CLAIM_LASTS)
