"""Notices: what happened to batches and chunks, for Prefect's events.

A notice is written in the transaction of the change, so none is lost and none is invented. The
waker sends it and removes it: at least once, and under the same id each time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, insert, literal, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Notice, Run

# Prefect's triggers look at recent events only.
_STALE_AFTER = timedelta(days=1)
_AT_ONCE = 200


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
    event: Event
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


def pending_notices(transaction: Transaction) -> list[Pending]:
    """The oldest notices that were not sent, at most a request's worth."""
    rows = transaction.rows(
        select(
            *Notice.__table__.columns,
            Batch.name.label("batch_name"),
            Batch.profile.label("frozen"),
            Run.flow_run_id,
        )
        .join(Batch, Batch.id == Notice.batch_id)
        .outerjoin(Run, Run.owner == literal("batch:") + Notice.batch_id)
        .order_by(Notice.id)
        .limit(_AT_ONCE)
    )
    return [
        Pending(
            id=row.id,
            event=Event(row.event),
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
