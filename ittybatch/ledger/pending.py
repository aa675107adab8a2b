"""The pending rows of a sink's outbox: read in pages, and marked once they are delivered."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Text,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)

from ittybatch.ledger.bulk import BulkStatement
from ittybatch.ledger.counters import attempts_of
from ittybatch.ledger.database import Ledger, Transaction
from ittybatch.ledger.models import (
    Attempt,
    Batch,
    Chunk,
    Delivery,
    Follower,
    Item,
    Job,
    Outbox,
    Sink,
    UtcDateTime,
)
from ittybatch.ledger.outbox import OutboxEvent
from ittybatch.ledger.sinks import PENDING, short_error, sink_names
from ittybatch.ledger.states import OPEN_JOBS, Verdict

_RETRIED_AT_ONCE = 5000
_OPEN = tuple(sorted(state.value for state in OPEN_JOBS))


@dataclass(frozen=True, slots=True)
class PendingRow:
    """One event that waits for delivery, with its job as it is now.

    Args:
        id: The row's id.
        event: `accepted` or `ended`.
        follows: Whether it is for a later request for the same job.
        created_at: When the event was recorded.
        tries: How often it was delivered or refused before.
        user_metadata: Metadata of the request, as JSON.
    """

    id: int
    event: str
    tries: int
    follows: bool
    created_at: datetime
    user_metadata: str
    job_id: int
    task_id: str | None
    rendition: str
    kind: str
    state: str
    attempts: int
    destination: str | None
    uri: str
    batch_id: str
    output_url: str | None
    output_format: str | None
    output_width: int | None
    output_height: int | None
    output_duration_s: float | None
    output_size_bytes: int | None
    error_kind: str | None
    error_message: str | None
    submitted_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class BatchOfRow:
    """What the results of a batch have in common.

    Args:
        name: The batch's name.
        profile: Its profile's name.
        of_requests: Whether requests made it, and not a scan.
    """

    name: str
    profile: str
    of_requests: bool


@dataclass(frozen=True, slots=True)
class PendingPage:
    """Some of a sink's pending rows, in the order of their ids, and their batches by id."""

    rows: Sequence[PendingRow]
    batches: dict[str, BatchOfRow]


def pending_page(
    transaction: Transaction, sink: str, limit: int, *, except_jobs: Collection[int] = ()
) -> PendingPage:
    """The oldest pending rows of a sink.

    Args:
        transaction: The transaction to read in.
        sink: The sink's name.
        limit: The maximum number of rows.
        except_jobs: Jobs whose rows have to wait a while longer.
    """
    query = (
        select(
            Outbox.id,
            Outbox.event,
            Outbox.tries,
            Outbox.follower_id.is_not(None).label("follows"),
            Outbox.created_at,
            func.coalesce(Follower.user_metadata, Job.user_metadata).label("user_metadata"),
            Job.id.label("job_id"),
            Job.task_id,
            Job.rendition,
            Job.kind,
            Job.state,
            attempts_of(Job).label("attempts"),
            Job.destination,
            Item.uri,
            Chunk.batch_id,
            Job.output_url,
            Job.output_format,
            Job.output_width,
            Job.output_height,
            Job.output_duration_s,
            Job.output_size_bytes,
            Job.error_kind,
            Job.error_message,
            Job.submitted_at,
            Job.completed_at,
        )
        .join(Job, Job.id == Outbox.job_id)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .outerjoin(Follower, Follower.id == Outbox.follower_id)
        .where(Outbox.sink == sink, PENDING)
        .order_by(Outbox.id)
        .limit(limit)
    )
    if except_jobs:
        query = query.where(Outbox.job_id.not_in(except_jobs))
    rows = [PendingRow(**row._asdict()) for row in transaction.rows(query)]
    return PendingPage(rows, _batches(transaction, {row.batch_id for row in rows}))


def first_tasks(transaction: Transaction, rows: Sequence[PendingRow]) -> dict[int, str]:
    """Ittybit's ids of the first submissions, by job, of those jobs that took several."""
    retried = {row.job_id for row in rows if row.attempts > 1}
    if not retried:
        return {}
    query = (
        select(Attempt.job_id, Attempt.task_id)
        .where(Attempt.job_id.in_(retried), Attempt.task_id.is_not(None))
        .order_by(Attempt.job_id, Attempt.number.desc())
    )
    # The first submission comes last, and stays.
    return {row.job_id: row.task_id for row in transaction.rows(query)}


def job_bodies(transaction: Transaction, rows: Sequence[PendingRow]) -> dict[str, bytes]:
    """What Ittybit said of the end of these rows' jobs, by Ittybit's id: a webhook or an answer."""
    tasks = {row.task_id for row in rows if row.task_id}
    found: dict[str, bytes] = {}
    polled = select(Job.task_id, Job.outcome).where(
        Job.id.in_({row.job_id for row in rows}), Job.outcome.is_not(None)
    )
    for job in transaction.rows(polled):
        found[job.task_id] = job.outcome.encode()
    applied = (
        select(Delivery.task_id, Delivery.body)
        .where(Delivery.task_id.in_(tasks), Delivery.verdict == Verdict.APPLIED.value)
        .order_by(Delivery.received_at)
    )
    # A webhook has what a poll has, and is what the sink's reader expects.
    found |= {row.task_id: row.body for row in transaction.rows(applied)}
    return found


def mark(
    transaction: Transaction,
    sink: str,
    delivered: Sequence[int],
    refused: Sequence[tuple[int, str]],
    *,
    tries: Mapping[int, int] | None = None,
) -> None:
    """Record what became of a group. The caller has checked that the sink is still leased to it.

    Args:
        transaction: The transaction to do it in.
        sink: The sink, which has answered: it is available again.
        delivered: Ids of delivered rows.
        refused: Ids of rows that the sink refused for good, each with the reason.
        tries: The rows' `tries` when they were read. A row that has others now was reopened
            meanwhile (`ledger.reopening`), and stays pending.
    """
    now, read = transaction.now, tries or {}
    _DELIVERED.run(
        transaction, [{"row": row, "tries": read.get(row)} for row in delivered], now=now
    )
    _REFUSED.run(
        transaction,
        [{"row": row, "tries": read.get(row), "why": short_error(why)} for row, why in refused],
        now=now,
    )
    values: dict[str, object] = {"failures": 0, "retry_at": None}
    if delivered:
        values["last_delivered_at"] = now
    if refused:
        values["last_error"] = short_error(refused[-1][1])
    transaction.execute(update(Sink).where(Sink.name == sink).values(**values))


def retry_refused(ledger: Ledger, sink: str | None = None) -> int:
    """Deliver refused rows again.

    An `accepted` row is dropped if its job has ended meanwhile, which is an event of its own:
    after that, the sink would go back to an earlier state.

    Args:
        ledger: The ledger.
        sink: Only rows of this sink.

    Returns:
        How many rows are pending again.
    """
    # Sink by sink: the index of refused rows begins with the sink.
    names = [sink] if sink else ledger.read(sink_names)
    retried = 0
    for name in names:
        while (count := ledger.write(_retry_some, name)) is not None:
            retried += count
    return retried


def _retry_some(transaction: Transaction, sink: str) -> int | None:
    some = (
        select(Outbox.id)
        .where(Outbox.sink == sink, Outbox.refused_at.is_not(None))
        .order_by(Outbox.id)
        .limit(_RETRIED_AT_ONCE)
    )
    ids = [row.id for row in transaction.rows(some)]
    if not ids:
        _try_now(transaction, sink)
        return None
    of_these = Outbox.id.in_(ids)
    ended = exists().where(Job.id == Outbox.job_id, *(Job.state != state for state in _OPEN))
    transaction.execute(
        update(Outbox)
        .where(of_these, Outbox.event == OutboxEvent.ACCEPTED.value, ended)
        .values(refused_at=None, delivered_at=transaction.now)
    )
    changed = transaction.execute(
        update(Outbox)
        .where(of_these, Outbox.refused_at.is_not(None))
        .values(refused_at=None, error=None)
    )
    return changed.rowcount


def _try_now(transaction: Transaction, sink: str) -> None:
    """End the backoff: a person says that the sink is all right."""
    transaction.execute(
        update(Sink)
        .where(Sink.name == sink, Sink.retry_at.is_not(None))
        .values(retry_at=None, failures=0)
    )


def _batches(transaction: Transaction, ids: set[str]) -> dict[str, BatchOfRow]:
    query = select(
        Batch.id,
        Batch.name,
        Batch.profile["name"].as_string().label("profile"),
        Batch.source["type"].as_string().label("source"),
    ).where(Batch.id.in_(ids))
    return {
        row.id: BatchOfRow(row.name, row.profile or "", row.source == "requests")
        for row in transaction.rows(query)
    }


def _as_read(given: FromClause) -> ColumnElement[bool]:
    return or_(given.c.tries.is_(None), Outbox.tries == given.c.tries)


_NOW = bindparam("now", type_=UtcDateTime)
_DELIVERED = BulkStatement(
    {"row": BigInteger, "tries": Integer},
    lambda given: (
        update(Outbox)
        .where(Outbox.id == given.c.row, _as_read(given))
        .values(delivered_at=_NOW, tries=Outbox.tries + 1, error=None)
    ),
)
_REFUSED = BulkStatement(
    {"row": BigInteger, "tries": Integer, "why": Text},
    lambda given: (
        update(Outbox)
        .where(Outbox.id == given.c.row, _as_read(given))
        .values(refused_at=_NOW, tries=Outbox.tries + 1, error=given.c.why)
    ),
)
