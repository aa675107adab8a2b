"""Retention: removes old records that only serve to inspect a batch.

Webhooks' bodies, polled answers, rejected rows and delivered results are most of what a ledger
holds. No decision needs them once their batch has ended. Results that wait for a sink, or that it
refused, stay until they are delivered. Jobs, attempts, claims and results stay forever:
they keep a job from being paid for twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, tuple_, update

from ittybatch.ledger.database import Ledger, Transaction
from ittybatch.ledger.models import (
    Attempt,
    Batch,
    Chunk,
    ChunkMinute,
    Delivery,
    Job,
    Outbox,
    Reject,
    Request,
)
from ittybatch.ledger.notices import remove_stale_notices
from ittybatch.ledger.requests import BY_FLOW_RUN
from ittybatch.ledger.states import ChunkState
from ittybatch.ledger.waiters import remove_ended_waiters

# A receiver on SQLite waits for each of these transactions.
_ROWS_AT_ONCE = 500
_FIRST = ("", "")
# Clients that repeat a request with its key do so within a day.
_KEEP_REQUESTS = timedelta(days=2)
# Flow runs repeat a request when they wake. They may be late: their worker was stopped for days.
_FLOW_RUNS_SLEEP = timedelta(days=30)
_WAKE_LATE = timedelta(days=7)
_FIRST_REQUEST = (datetime(1970, 1, 1, tzinfo=UTC), "")
_NOT_DONE = (ChunkState.PLANNED.value, ChunkState.RELEASED.value)


@dataclass(slots=True)
class Removed:
    """What was removed, or would be.

    Args:
        batches: Batches that ended before the given time.
        deliveries: Webhooks, each with its body.
        outcomes: Answers to polls, kept with their jobs.
        rejects: Rows of sources that could not become items.
        delivered: Rows of the outbox that were delivered.
        requests: Answers to requests with an Idempotency-Key, kept for two days; of flow runs, as
            long as these may sleep and a week more.
        size_bytes: Size of their content, without the database's own overhead.
    """

    batches: int = 0
    deliveries: int = 0
    outcomes: int = 0
    rejects: int = 0
    delivered: int = 0
    requests: int = 0
    size_bytes: int = 0


def tidy(
    ledger: Ledger,
    *,
    older_than: timedelta,
    flow_runs_sleep: timedelta = _FLOW_RUNS_SLEEP,
    dry_run: bool = False,
) -> Removed:
    """Remove records that only serve to inspect batches which ended long enough ago.

    It works in small transactions while others use the ledger. It can be interrupted at any
    moment; the next call removes the rest.

    Args:
        ledger: The ledger.
        older_than: Minimum time since a batch ended, a webhook arrived, or a result was delivered.
        flow_runs_sleep: How long a flow run may sleep before it repeats its requests.
        dry_run: Count, and remove nothing.
    """
    removed = Removed()
    before = ledger.read(lambda transaction: transaction.now) - older_than
    run = ledger.read if dry_run else ledger.write
    after = _FIRST
    while last := ledger.read(_last_of_page, after):
        count, size = run(_tidy_deliveries, after, last, before, dry_run=dry_run)
        removed.deliveries += count
        removed.size_bytes += size
        after = last
    row = 0
    while rows := ledger.read(_delivered_before, before, row):
        removed.delivered += len(rows)
        row = rows[-1]
        if not dry_run:
            ledger.write(_remove_delivered, rows)
    for batch in ledger.read(_untidied, before):
        removed.batches += 1
        for jobs in _polled_jobs(ledger, batch):
            count, size = run(_tidy_outcomes, jobs, dry_run=dry_run)
            removed.outcomes += count
            removed.size_bytes += size
        number = -1
        while (end := ledger.read(_end_of_rejects, batch, number)) is not None:
            count, size = run(_tidy_rejects, batch, number, end, dry_run=dry_run)
            removed.rejects += count
            removed.size_bytes += size
            number = end
        if not dry_run:
            ledger.write(_note_tidied, batch)
    seen: tuple[datetime, str] | None = _FIRST_REQUEST
    while seen is not None:
        count, seen = run(_tidy_requests, seen, flow_runs_sleep + _WAKE_LATE, dry_run=dry_run)
        removed.requests += count
    if not dry_run:
        # Only a ledger without a waker has any.
        ledger.write(remove_stale_notices)
        ledger.write(remove_ended_waiters, before)
        ledger.write(_remove_minutes, before)
    return removed


def _untidied(transaction: Transaction, before: datetime) -> list[str]:
    """Batches that have ended, whose chunks are all done, and that have not been tidied."""
    unfinished = exists().where(Chunk.batch_id == Batch.id, Chunk.state.in_(_NOT_DONE))
    rows = transaction.rows(
        select(Batch.id)
        .where(Batch.ended_at < before, Batch.tidied_at.is_(None), ~unfinished)
        .order_by(Batch.id)
    )
    return [row.id for row in rows]


def _last_of_page(transaction: Transaction, after: tuple[str, str]) -> tuple[str, str] | None:
    key = tuple_(Delivery.task_id, Delivery.digest)
    page = (
        select(Delivery.task_id, Delivery.digest)
        .where(key > after)
        .order_by(Delivery.task_id, Delivery.digest)
        .limit(_ROWS_AT_ONCE)
    )
    rows = transaction.rows(page)
    return (rows[-1].task_id, rows[-1].digest) if rows else None


def _tidy_deliveries(
    transaction: Transaction,
    after: tuple[str, str],
    last: tuple[str, str],
    before: datetime,
    *,
    dry_run: bool,
) -> tuple[int, int]:
    """Remove a page's old webhooks, except those of open or recently ended batches."""
    still_wanted = (
        exists()
        .where(Attempt.task_id == Delivery.task_id)
        .where(Job.id == Attempt.job_id)
        .where(Chunk.id == Job.chunk_id)
        .where(Batch.id == Chunk.batch_id)
        .where(
            or_(
                Batch.ended_at.is_(None),
                Batch.ended_at >= before,
                Chunk.state.in_(_NOT_DONE),
            )
        )
    )
    key = tuple_(Delivery.task_id, Delivery.digest)
    old = and_(key > after, key <= last, Delivery.last_received_at < before, ~still_wanted)
    counted = _counted(transaction, Delivery.body, old)
    if not dry_run:
        transaction.execute(delete(Delivery).where(old))
    return counted


def _polled_jobs(ledger: Ledger, batch: str) -> Iterator[list[int]]:
    """A batch's jobs that keep a poll response, some at a time."""
    for chunk in ledger.read(_chunks_of, batch):
        jobs = ledger.read(_with_outcome, chunk)
        for start in range(0, len(jobs), _ROWS_AT_ONCE):
            yield jobs[start : start + _ROWS_AT_ONCE]


def _chunks_of(transaction: Transaction, batch: str) -> list[int]:
    query = select(Chunk.id).where(Chunk.batch_id == batch).order_by(Chunk.id)
    return [row.id for row in transaction.rows(query)]


def _with_outcome(transaction: Transaction, chunk: int) -> list[int]:
    query = select(Job.id).where(Job.chunk_id == chunk, Job.outcome.is_not(None)).order_by(Job.id)
    return [row.id for row in transaction.rows(query)]


def _tidy_outcomes(
    transaction: Transaction, jobs: Sequence[int], *, dry_run: bool
) -> tuple[int, int]:
    answered = and_(Job.id.in_(jobs), Job.outcome.is_not(None))
    counted = _counted(transaction, Job.outcome, answered)
    if not dry_run:
        transaction.execute(update(Job).where(answered).values(outcome=None))
    return counted


def _delivered_before(transaction: Transaction, before: datetime, after: int) -> list[int]:
    """Rows of the outbox that were delivered before a time, some at a time."""
    rows = transaction.rows(
        select(Outbox.id)
        .where(Outbox.id > after, Outbox.delivered_at < before)
        .order_by(Outbox.id)
        .limit(_ROWS_AT_ONCE)
    )
    return [row.id for row in rows]


def _remove_delivered(transaction: Transaction, rows: Sequence[int]) -> None:
    transaction.execute(delete(Outbox).where(Outbox.id.in_(rows)))


def _tidy_requests(
    transaction: Transaction,
    after: tuple[datetime, str],
    keep_of_flow_runs: timedelta,
    *,
    dry_run: bool,
) -> tuple[int, tuple[datetime, str] | None]:
    """Remove a page's old answers; the jobs of a request that comes again are still known.

    Returns:
        How many, and where the next page begins; None after the last.
    """
    moment, key = after
    rows = transaction.rows(
        select(Request.key, Request.created_at, Request.answer)
        .where(
            Request.created_at < transaction.now - _KEEP_REQUESTS,
            Request.created_at >= moment,
            or_(Request.created_at > moment, Request.key > key),
        )
        .order_by(Request.created_at, Request.key)
        .limit(_ROWS_AT_ONCE)
    )
    kept_since = transaction.now - keep_of_flow_runs
    old = [
        row.key
        for row in rows
        if row.created_at < kept_since or not row.answer.get(BY_FLOW_RUN, False)
    ]
    if not rows:
        return 0, None
    last = (rows[-1].created_at, rows[-1].key)
    if not dry_run:
        # Not one that its flow run has repeated a moment ago.
        unchanged = Request.created_at <= last[0]
        transaction.execute(delete(Request).where(Request.key.in_(old), unchanged))
    return len(old), last


def _remove_minutes(transaction: Transaction, before: datetime) -> None:
    """Remove what the page's drawing of the last day does not show any more."""
    transaction.execute(delete(ChunkMinute).where(ChunkMinute.minute < before))


def _end_of_rejects(transaction: Transaction, batch: str, after: int) -> int | None:
    rows = transaction.rows(
        select(Reject.number)
        .where(Reject.batch_id == batch, Reject.number > after)
        .order_by(Reject.number)
        .limit(_ROWS_AT_ONCE)
    )
    return rows[-1].number if rows else None


def _tidy_rejects(
    transaction: Transaction, batch: str, after: int, last: int, *, dry_run: bool
) -> tuple[int, int]:
    page = and_(Reject.batch_id == batch, Reject.number > after, Reject.number <= last)
    counted = _counted(transaction, Reject.reason + func.coalesce(Reject.row, ""), page)
    if not dry_run:
        transaction.execute(delete(Reject).where(page))
    return counted


def _note_tidied(transaction: Transaction, batch: str) -> None:
    transaction.execute(update(Batch).where(Batch.id == batch).values(tidied_at=transaction.now))


def _counted(
    transaction: Transaction,
    content: Any,  # noqa: ANN401  a column or an expression of text or bytes
    which: ColumnElement[bool],
) -> tuple[int, int]:
    """The number of these rows, and the size of their content."""
    size = func.coalesce(func.sum(func.length(content)), 0)
    row = transaction.execute(select(func.count(), size).where(which)).one()
    return int(row[0]), int(row[1])
