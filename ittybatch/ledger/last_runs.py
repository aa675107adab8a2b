"""When recurring work last ran, and which receivers run: for people to look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import LastRun

RECONCILE = "reconcile"
_RECEIVER = "receiver:"
# A receiver that was killed leaves its row; one that ends as it should removes it.
_FORGOTTEN_AFTER = timedelta(days=1)
_MAX_NAME = 50


@dataclass(frozen=True, slots=True)
class Ran:
    """The last run of recurring work, or the last sign of a receiver.

    Args:
        name: What ran; of a receiver, where it runs.
        at: When.
        details: What it did, by name.
    """

    name: str
    at: datetime
    details: Mapping[str, Any]


def record_run(transaction: Transaction, name: str, details: Mapping[str, Any]) -> None:
    """Record that recurring work has run to its end.

    Args:
        transaction: The transaction to do it in.
        name: What ran, such as `RECONCILE`.
        details: What it did, by name, as JSON.
    """
    values = {"at": transaction.now, "details": dict(details)}
    changed = transaction.execute(update(LastRun).where(LastRun.name == name).values(**values))
    if not changed.rowcount:
        transaction.execute(transaction.insert_new(LastRun).values(name=name, **values))


def record_receiver(transaction: Transaction, place: str, details: Mapping[str, Any]) -> None:
    """Record that a receiver is alive, and forget those that have been silent for a day.

    Args:
        transaction: The transaction to do it in.
        place: Where it runs: host and process.
        details: What it is, by name, as JSON.
    """
    record_run(transaction, _name(place), details)
    transaction.execute(
        delete(LastRun).where(
            LastRun.name.startswith(_RECEIVER, autoescape=True),
            LastRun.at < transaction.now - _FORGOTTEN_AFTER,
        )
    )


def forget_receiver(transaction: Transaction, place: str) -> None:
    """Remove a receiver that ends."""
    transaction.execute(delete(LastRun).where(LastRun.name == _name(place)))


def last_run(transaction: Transaction, name: str) -> Ran | None:
    """The last run of recurring work; None if it never ran."""
    rows = transaction.rows(select(*LastRun.__table__.columns).where(LastRun.name == name))
    return Ran(**rows[0]._mapping) if rows else None  # noqa: SLF001  its public name


def receivers(transaction: Transaction, limit: int = 50) -> list[Ran]:
    """The receivers that gave a sign of life within the last day, the latest first."""
    rows = transaction.rows(
        select(*LastRun.__table__.columns)
        .where(LastRun.name.startswith(_RECEIVER, autoescape=True))
        .order_by(LastRun.at.desc())
        .limit(limit)
    )
    return [Ran(row.name.removeprefix(_RECEIVER), row.at, row.details) for row in rows]


def _name(place: str) -> str:
    # The end of a long host name, with the process, tells receivers apart.
    return _RECEIVER + place[-(_MAX_NAME - len(_RECEIVER)) :]
