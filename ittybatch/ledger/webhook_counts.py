"""How many webhooks came lately, by what they changed."""

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
    """Webhooks of a stretch of time.

    Args:
        by_verdict: Their numbers.
        since: The beginning of the time that was counted.
        is_cut: Whether there were more, so that counting began later than asked.
    """

    by_verdict: Mapping[Verdict, int]
    since: datetime
    is_cut: bool

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_verdict.values())


def count_webhooks(
    transaction: Transaction, over: timedelta, *, limit: int = _MOST_COUNTED
) -> WebhookCounts:
    """Count the webhooks of the last time by verdict.

    Args:
        transaction: The transaction to look in.
        over: How far to look back.
        limit: At most this many are counted: the newest.
    """
    since = transaction.now - over
    newest = (
        select(Delivery.verdict, Delivery.received_at)
        .where(Delivery.received_at >= since)
        .order_by(Delivery.received_at.desc())
        .limit(limit)
        .subquery()
    )
    rows = transaction.rows(
        select(
            newest.c.verdict,
            func.count().label("number"),
            func.min(newest.c.received_at).label("at"),
        ).group_by(newest.c.verdict)
    )
    counts = {Verdict(row.verdict): int(row.number) for row in rows}
    is_cut = sum(counts.values()) >= limit
    return WebhookCounts(counts, min(row.at for row in rows) if is_cut else since, is_cut)


def last_webhook_at(transaction: Transaction) -> datetime | None:
    """When the newest webhook came."""
    found: datetime | None = transaction.execute(select(func.max(Delivery.received_at))).scalar()
    return found
