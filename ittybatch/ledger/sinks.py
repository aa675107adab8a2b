"""The ledger's sinks: which are active, who delivers to each, and how they are doing.

A receiver leases a sink before it delivers to it, so that only one delivers at a time. That keeps
the events of a job in order. If the receiver is lost, the lease runs out and another takes over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Outbox, Sink

PENDING = and_(Outbox.delivered_at.is_(None), Outbox.refused_at.is_(None))
_MAX_ERROR_CHARS = 2000
# Far more than anyone waits for; without a limit, a huge backlog would be counted at each look.
_MOST_COUNTED = 1_000_000


@dataclass(frozen=True, slots=True)
class DeclaredSink:
    """A sink as `results.yaml` declares it.

    Args:
        name: Its name.
        kind: `sql`, `dynamodb`, `http` or `slack`.
        on_accepted: Whether it also gets the jobs that Ittybit has accepted.
    """

    name: str
    kind: str
    on_accepted: bool = False


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """A sink in numbers.

    Args:
        name: Its name.
        kind: `sql`, `dynamodb`, `http` or `slack`.
        active: Whether it is declared. Only active sinks get new results.
        pending: Results that wait for delivery.
        refused: Results that it refused for good.
        oldest_pending_at: When the oldest waiting result was recorded.
        failures: How often in a row it was unavailable.
        retry_at: When it is tried again, if it was unavailable.
        last_error: Why it was unavailable, or why it refused the last result.
        last_delivered_at: When the last result was delivered.
    """

    name: str
    kind: str
    active: bool
    pending: int
    refused: int
    oldest_pending_at: datetime | None
    failures: int
    retry_at: datetime | None
    last_error: str | None
    last_delivered_at: datetime | None


def sync_sinks(
    transaction: Transaction, declared: Sequence[DeclaredSink], *, keep_others: bool = False
) -> None:
    """Make the ledger's sinks those that are declared.

    A new sink gets the jobs that end from now on. An inactive one keeps its waiting results, and
    continues with them once it is declared again.

    Args:
        transaction: The transaction to do it in.
        declared: The declared sinks.
        keep_others: Whether sinks that are not declared stay active; otherwise they become
            inactive.
    """
    transaction.serialise("sinks")
    for sink in sorted(declared, key=lambda each: each.name):
        transaction.execute(
            transaction.insert_new(Sink).values(
                name=sink.name,
                kind=sink.kind,
                active=True,
                on_accepted=sink.on_accepted,
                failures=0,
            )
        )
        transaction.execute(
            update(Sink)
            .where(Sink.name == sink.name)
            .values(kind=sink.kind, active=True, on_accepted=sink.on_accepted)
        )
    if keep_others:
        return
    transaction.execute(
        update(Sink)
        .where(Sink.name.not_in([sink.name for sink in declared]), Sink.active)
        .values(active=False)
    )


def sinks_due(transaction: Transaction, owner: str) -> list[str]:
    """The active sinks that have waiting results, are not backing off, and are not another's."""
    waiting = exists().where(Outbox.sink == Sink.name, PENDING)
    query = select(Sink.name).where(waiting, *_may_deliver(transaction, owner)).order_by(Sink.name)
    return [row.name for row in transaction.rows(query)]


def lease_sink(transaction: Transaction, name: str, owner: str, lease_s: float) -> bool:
    """Take a sink, or keep it.

    Args:
        transaction: The transaction to do it in.
        name: The sink.
        owner: Who delivers.
        lease_s: Seconds after which another may take it.

    Returns:
        Whether the owner holds the lease.
    """
    changed = transaction.execute(
        update(Sink)
        .where(Sink.name == name, *_may_deliver(transaction, owner))
        .values(lease_owner=owner, lease_until=transaction.now + timedelta(seconds=lease_s))
    )
    return changed.rowcount > 0


def keep_leases(
    transaction: Transaction, names: Sequence[str], owner: str, lease_s: float
) -> list[str]:
    """Extend leases while their groups are being delivered.

    Returns:
        The sinks that are still the owner's.
    """
    changed = transaction.execute(
        update(Sink)
        .where(Sink.name.in_(names), Sink.lease_owner == owner)
        .values(lease_until=transaction.now + timedelta(seconds=lease_s))
        .returning(Sink.name)
    )
    return [row.name for row in changed]


def release_sinks(transaction: Transaction, owner: str) -> None:
    """Give every lease of an owner back."""
    transaction.execute(
        update(Sink).where(Sink.lease_owner == owner).values(lease_owner=None, lease_until=None)
    )


def back_off(transaction: Transaction, name: str, error: str, wait_s: float) -> None:
    """Record that a sink was unavailable, and when to try again."""
    transaction.execute(
        update(Sink)
        .where(Sink.name == name)
        .values(
            failures=Sink.failures + 1,
            retry_at=transaction.now + timedelta(seconds=wait_s),
            last_error=short_error(error),
        )
    )


def sink_names(transaction: Transaction) -> list[str]:
    """Every sink that was ever declared."""
    return [row.name for row in transaction.rows(select(Sink.name).order_by(Sink.name))]


def sink_statuses(transaction: Transaction) -> list[SinkStatus]:
    """Every sink that was ever declared, in numbers."""
    sinks = transaction.rows(select(Sink).order_by(Sink.name).with_only_columns(*_SHOWN))
    return [
        SinkStatus(
            **row._asdict(),
            pending=_count(transaction, row.name, PENDING),
            refused=_count(transaction, row.name, Outbox.refused_at.is_not(None)),
            oldest_pending_at=transaction.execute(
                select(Outbox.created_at)
                .where(Outbox.sink == row.name, PENDING)
                .order_by(Outbox.id)
                .limit(1)
            ).scalar(),
        )
        for row in sinks
    ]


def short_error(text: str) -> str:
    """An error as the ledger keeps it: Postgres takes no NUL in text."""
    return text.replace("\x00", "")[:_MAX_ERROR_CHARS]


_SHOWN = (
    Sink.name,
    Sink.kind,
    Sink.active,
    Sink.failures,
    Sink.retry_at,
    Sink.last_error,
    Sink.last_delivered_at,
)


def _may_deliver(transaction: Transaction, owner: str) -> tuple[ColumnElement[bool], ...]:
    now = transaction.now
    return (
        Sink.active.is_(True),
        or_(Sink.retry_at.is_(None), Sink.retry_at <= now),
        or_(Sink.lease_owner.is_(None), Sink.lease_owner == owner, Sink.lease_until <= now),
    )


def _count(transaction: Transaction, name: str, which: ColumnElement[bool]) -> int:
    some = select(Outbox.id).where(Outbox.sink == name, which).limit(_MOST_COUNTED).subquery()
    return int(transaction.execute(select(func.count()).select_from(some)).scalar_one())
