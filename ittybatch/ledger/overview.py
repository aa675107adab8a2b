"""The overview: batches that are under way, and a page of those that have ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, not_, or_, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch
from ittybatch.ledger.progress import BatchProgress, batch_progress
from ittybatch.ledger.pulse import ended_lately
from ittybatch.ledger.queries import IDLE, BatchStatus, batch_statuses
from ittybatch.ledger.states import BatchState

# Batches that have ended are looked through up to here. A queue that is drained each minute
# makes 1,440 of them a day.
LOOKED_AT = 20_000
_MOST_OPEN = 200


@dataclass(frozen=True, slots=True)
class BatchFilter:
    """Which batches to show.

    Args:
        text: Part of the name or of the id, ignoring case.
        states: Their states; every state if empty.
        since: Begun at this time or later.
        until: Begun before this time.
        idle: Whether to show scans that found nothing to do.
    """

    text: str = ""
    states: Sequence[BatchState] = ()
    since: datetime | None = None
    until: datetime | None = None
    idle: bool = False

    def conditions(self) -> list[ColumnElement[bool]]:
        """The filter as conditions on batches."""
        found: list[ColumnElement[bool]] = []
        if self.text:
            texts = (Batch.name, Batch.id)
            found.append(or_(*(each.icontains(self.text, autoescape=True) for each in texts)))
        if self.since is not None:
            found.append(Batch.created_at >= self.since)
        if self.until is not None:
            found.append(Batch.created_at < self.until)
        if not self.idle:
            found.append(not_(IDLE))
        return found


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch as a list shows it.

    Args:
        status: Its state and counts.
        progress: How far its renditions are, and what was sent by kind of job.
        per_minute: Jobs that ended per minute in the last ten minutes; None if none did.
    """

    status: BatchStatus
    progress: BatchProgress
    per_minute: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Batches that are under way, and a page of those that have ended.

    Args:
        open: Those that have not ended, the newest first; only on the first page.
        ended: Those that have ended, the newest first.
        next: What to read the next page after; None if there is none.
        looked_at: Ended batches that were looked at, at most `LOOKED_AT`.
    """

    open: Sequence[BatchRow]
    ended: Sequence[BatchRow]
    next: str | None
    looked_at: int


def overview(
    transaction: Transaction,
    wanted: BatchFilter,
    *,
    after: str | None = None,
    limit: int = 30,
) -> Overview:
    """Batches that are under way, and a page of those that have ended.

    Args:
        transaction: The transaction to look in.
        wanted: Which batches to show.
        after: `next` of the page before; None for the first page.
        limit: The maximum number of ended batches.
    """
    opened = [] if after else _open(transaction, wanted)
    ended, looked_at, last = _ended(transaction, wanted, after, limit)
    ids = [*opened, *ended]
    statuses = batch_statuses(transaction, ids)
    progress = batch_progress(transaction, ids)
    speeds = ended_lately(transaction, opened)
    rows = [BatchRow(each, progress[each.id], speeds.get(each.id)) for each in statuses]
    return Overview(rows[: len(opened)], rows[len(opened) :], last, looked_at)


def _open(transaction: Transaction, wanted: BatchFilter) -> list[str]:
    # The states are listed, so that the index on `state` is used.
    states = [state.value for state in wanted.states or BatchState if not state.ended]
    rows = transaction.rows(
        select(Batch.id)
        .where(Batch.state.in_(states), *wanted.conditions())
        .order_by(Batch.id.desc())
        .limit(_MOST_OPEN)
    )
    return [row.id for row in rows]


def _ended(
    transaction: Transaction, wanted: BatchFilter, after: str | None, limit: int
) -> tuple[list[str], int, str | None]:
    """A page of ended batches, how many were looked at, and what the next page begins after."""
    states = [state.value for state in wanted.states or BatchState if state.ended]
    if not states:
        return [], 0, None
    # An id begins with the time at which the batch began.
    newest = select(Batch.id).order_by(Batch.id.desc()).limit(LOOKED_AT)
    if after is not None:
        newest = newest.where(Batch.id < after)
    ids = newest.subquery("newest")
    rows = transaction.rows(
        select(Batch.id)
        .join(ids, and_(ids.c.id == Batch.id))
        .where(Batch.state.in_(states), *wanted.conditions())
        .order_by(Batch.id.desc())
        .limit(limit + 1)
    )
    found = [row.id for row in rows]
    if len(found) > limit:
        return found[:limit], LOOKED_AT, found[limit - 1]
    looked_at = [row.id for row in transaction.rows(newest)]
    more = looked_at[-1] if len(looked_at) == LOOKED_AT else None
    return found, len(looked_at), more
