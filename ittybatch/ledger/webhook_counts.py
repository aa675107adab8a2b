"""Counts of recent webhooks, by verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Delivery
from ittybatch.ledger.states import Verdict

# The newest ones, so that a look costs the same on a busy day.
_MOST_COUNTED = 20_000


@dataclass(frozen=True, slots=True)
class WebhookCounts:
    """Counts of the webhooks in a period.

    Args:
        by_verdict: The count of each verdict.
        since: The beginning of the period that was counted.
        is_truncated: Whether there were more, so that counting began later than asked.
    """

    by_verdict: Mapping[Verdict, int]
    since: datetime
    is_truncated: bool

    @property
    def total(self) -> int:
        """The sum of all counts."""
        return sum(self.by_verdict.values())


def count_webhooks(
    transaction: Transaction, over: timedelta, *, limit: int = _MOST_COUNTED
) -> WebhookCounts:
    """Count the webhooks of the last `over`, by verdict.

    Args:
        transaction: The transaction to look in.
        over: How far to look back.
        limit: At most this many are counted: the newest.
    """
    since = transaction.now - over
    of_period = (
        select(Delivery.verdict, Delivery.received_at)
        .where(Delivery.received_at >= since)
        .order_by(Delivery.received_at.desc())
    )
    newest = of_period.limit(limit).subquery()
    rows = transaction.rows(
        select(
            newest.c.verdict,
            func.count().label("number"),
            func.min(newest.c.received_at).label("at"),
        ).group_by(newest.c.verdict)
    )
    counts = {Verdict(row.verdict): int(row.number) for row in rows}
    more = transaction.rows(of_period.offset(limit).limit(1))
    return WebhookCounts(counts, min(row.at for row in rows) if more else since, bool(more))


def last_webhook_at(transaction: Transaction) -> datetime | None:
    """When the newest webhook came."""
    found: datetime | None = transaction.execute(select(func.max(Delivery.received_at))).scalar()
    return found
