"""What people ask of the ledger: batches, their jobs, their failures, their rejects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, not_, or_, select

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.redaction import shown_source
from ittybatch.ledger.batches import job_totals
from ittybatch.ledger.counters import COLUMNS, attempts_of
from ittybatch.ledger.database import Ledger, Transaction
from ittybatch.ledger.models import Attempt, Batch, Chunk, Item, Job, Reject, Run
from ittybatch.ledger.states import (
    BatchState,
    ChunkState,
    JobState,
    RunState,
)

_PAGE = 2000


class AmbiguousBatch(IttybatchError):
    """An abbreviated batch id fits several batches."""


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """A batch in numbers."""

    id: str
    name: str
    state: BatchState
    reason: str | None
    profile: str
    source: dict[str, Any]
    options: dict[str, Any]
    created_at: datetime
    ended_at: datetime | None
    flow_run_id: str | None
    counts: dict[str, int]
    plan: dict[str, int]
    chunks: int
    chunks_done: int
    retried: int
    waits_for_room: bool
    tidied_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as reports show it."""

    id: int
    input: str
    rendition: str
    kind: str
    state: JobState
    attempts: int
    job_key: str
    destination: str | None
    task_id: str | None
    output_url: str | None
    format: str | None
    width: int | None
    height: int | None
    duration_s: float | None
    size_bytes: int | None
    error_kind: str | None
    error_message: str | None
    submitted_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which of a batch's jobs are wanted.

    Args:
        rendition: Only jobs of this rendition.
        input_contains: Only jobs of items whose URI contains this.
    """

    rendition: str | None = None
    input_contains: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The filter as conditions of a query that joins jobs with their items."""
        found: list[ColumnElement[bool]] = []
        if self.rendition is not None:
            found.append(Job.rendition == self.rendition)
        if self.input_contains is not None:
            found.append(Item.uri.contains(self.input_contains, autoescape=True))
        return found


EVERY_JOB = JobFilter()

# What makes a `JobRow` out of a job and its item.
JOB_COLUMNS = (
    Job.id,
    Item.uri.label("input"),
    Job.rendition,
    Job.kind,
    Job.state,
    attempts_of(Job).label("attempts"),
    Job.job_key,
    Job.destination,
    Job.task_id,
    Job.output_url,
    Job.output_format.label("format"),
    Job.output_width.label("width"),
    Job.output_height.label("height"),
    Job.output_duration_s.label("duration_s"),
    Job.output_size_bytes.label("size_bytes"),
    Job.error_kind,
    Job.error_message,
    Job.submitted_at,
    Job.completed_at,
)


# A scan that found nothing to do, and has ended. A queue is drained each minute: counted among
# the others, such batches would hide those that did something.
_IDLE = and_(
    Batch.state == BatchState.SUCCEEDED.value,
    func.coalesce(Batch.counts["jobs"].as_integer(), 0) == 0,
    func.coalesce(Batch.counts["rejected"].as_integer(), 0) == 0,
)


def recent_batches(
    transaction: Transaction, limit: int = 20, *, idle: bool = False
) -> list[BatchStatus]:
    """The newest batches, the newest first.

    Args:
        transaction: The transaction to look in.
        limit: At most this many.
        idle: Whether to include scans that found nothing to do.
    """
    query = select(Batch.id).order_by(Batch.created_at.desc()).limit(limit)
    ids = transaction.rows(query if idle else query.where(not_(_IDLE)))
    return [batch_status(transaction, row.id) for row in ids]


def idle_batches(transaction: Transaction) -> int:
    """How many scans found nothing to do."""
    query = select(func.count()).select_from(Batch).where(_IDLE)
    return int(transaction.execute(query).scalar_one())


def find_batch(transaction: Transaction, text: str) -> str:
    """The batch that an id, its beginning or end, or `latest` means.

    `latest` is the newest batch that did something; the newest of all if none did.

    Raises:
        AmbiguousBatch: when it fits none, or several.
    """
    query = select(Batch.id).order_by(Batch.created_at.desc())
    if text == "latest":
        query = select(Batch.id).order_by(case((_IDLE, 1), else_=0), Batch.created_at.desc())
        query = query.limit(1)
    else:
        query = query.where(
            or_(
                Batch.id == text,
                Batch.id.startswith(text, autoescape=True),
                Batch.id.endswith(text, autoescape=True),
            )
        ).limit(5)
    found = [row.id for row in transaction.rows(query)]
    if text in found:
        return text
    if len(found) != 1:
        what = f"fits {', '.join(found)}" if found else "fits no batch"
        raise AmbiguousBatch(f"{text!r} {what}.", remedy="`ittybatch status` lists the batches.")
    return str(found[0])


def batch_status(transaction: Transaction, batch: str) -> BatchStatus:
    """A batch in numbers."""
    row = transaction.execute(select(*Batch.__table__.columns).where(Batch.id == batch)).one()
    chunks = transaction.execute(
        select(
            func.count().label("all"),
            func.count().filter(Chunk.state == ChunkState.DONE.value).label("done"),
            func.coalesce(func.sum(Chunk.retried), 0).label("retried"),
        ).where(Chunk.batch_id == batch)
    ).one()
    flow_run = transaction.rows(select(Run.flow_run_id).where(Run.owner == f"batch:{batch}"))
    totals = job_totals(transaction, batch)
    return BatchStatus(
        id=row.id,
        name=row.name,
        state=BatchState(row.state),
        reason=row.reason,
        profile=str(row.profile.get("name", "")),
        source=shown_source(row.source),
        options=row.options,
        created_at=row.created_at,
        ended_at=row.ended_at,
        flow_run_id=flow_run[0].flow_run_id if flow_run else None,
        counts={**totals, "skipped": int(row.counts.get("skipped", 0))},
        plan=dict(row.counts),
        chunks=chunks.all,
        chunks_done=chunks.done,
        retried=int(chunks.retried),
        waits_for_room=row.wants_room and row.state == BatchState.RUNNING,
        tidied_at=row.tidied_at,
    )


def job_rows(
    transaction: Transaction,
    batch: str,
    *,
    states: Sequence[JobState] = (),
    after: int = 0,
    limit: int = _PAGE,
    chunks: Sequence[int] | None = None,
    only: JobFilter = EVERY_JOB,
) -> list[JobRow]:
    """A batch's jobs in the order they were planned, from right after one of them.

    Args:
        transaction: The transaction to read in.
        batch: The batch.
        states: Only jobs in these; in any where there are none.
        after: Only jobs with a larger id.
        limit: The most jobs to give.
        chunks: Only jobs of these. Without it all of the batch's are sorted for a few.
        only: Only jobs that this filter keeps.
    """
    query = (
        select(*JOB_COLUMNS)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(Chunk.batch_id == batch, Job.id > after, *only.conditions())
        .order_by(Job.id)
        .limit(limit)
    )
    if states:
        query = query.where(Job.state.in_([state.value for state in states]))
    if chunks is not None:
        query = query.where(Job.chunk_id.in_(chunks))
    return [
        JobRow(**{**row._asdict(), "state": JobState(row.state)}) for row in transaction.rows(query)
    ]


def all_job_rows(
    ledger: Ledger, batch: str, *, states: Sequence[JobState] = (), only: JobFilter = EVERY_JOB
) -> Iterator[JobRow]:
    """Every job of a batch, chunk after chunk, read page by page."""
    for chunks in together(ledger.read(chunk_sizes, batch)):
        after = 0
        while rows := ledger.read(
            job_rows, batch, states=states, after=after, chunks=chunks, only=only
        ):
            yield from rows
            if len(rows) < _PAGE:
                break
            after = rows[-1].id


def chunk_sizes(transaction: Transaction, batch: str) -> list[tuple[int, int]]:
    """A batch's chunks, each with how many jobs it has."""
    first, *others = (getattr(Chunk, name) for name in COLUMNS)
    jobs = sum(others, start=first).label("jobs")
    query = select(Chunk.id, jobs).where(Chunk.batch_id == batch).order_by(Chunk.id)
    return [(row.id, row.jobs) for row in transaction.rows(query)]


def together(chunks: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Chunks in groups of about a page of jobs; one alone may hold several pages.

    Args:
        chunks: Each chunk's id and how many jobs it has.
    """
    group: list[int] = []
    size = 0
    for chunk, jobs in chunks:
        if group and size + jobs > _PAGE:
            yield group
            group, size = [], 0
        group.append(chunk)
        size += jobs
    if group:
        yield group


def rendition_counts(transaction: Transaction, batch: str) -> list[tuple[str, JobState, int]]:
    """A batch's jobs counted by rendition and state, as (rendition, state, jobs)."""
    rows = transaction.rows(
        select(Job.rendition, Job.state, func.count().label("jobs"))
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(Chunk.batch_id == batch)
        .group_by(Job.rendition, Job.state)
        .order_by(Job.rendition)
    )
    return [(row.rendition, JobState(row.state), row.jobs) for row in rows]


def failure_reasons(
    transaction: Transaction, batch: str, limit: int = 50, *, only: JobFilter = EVERY_JOB
) -> list[dict[str, Any]]:
    """A batch's failures grouped by state and reason, the most frequent first."""
    count = func.count().label("jobs")
    rows = transaction.rows(
        select(
            Job.state,
            Job.error_kind,
            Job.error_message,
            func.min(Item.uri).label("example"),
            count,
        )
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(
            Chunk.batch_id == batch,
            Job.state.in_(
                [JobState.FAILED.value, JobState.CANCELLED.value, JobState.EXPIRED.value]
            ),
            *only.conditions(),
        )
        .group_by(Job.state, Job.error_kind, Job.error_message)
        .order_by(count.desc())
        .limit(limit)
    )
    return [row._asdict() for row in rows]


def reject_rows(transaction: Transaction, batch: str, after: int = -1) -> list[dict[str, Any]]:
    """A batch's rejected rows, a page at a time, from right after one of them."""
    rows = transaction.rows(
        select(Reject.number, Reject.line, Reject.field, Reject.reason, Reject.row)
        .where(Reject.batch_id == batch, Reject.number > after)
        .order_by(Reject.number)
        .limit(_PAGE)
    )
    return [row._asdict() for row in rows]


def accepted_attempts(transaction: Transaction, batch: str) -> dict[str, str | None]:
    """Every attempt of a batch that was sent: its Idempotency-Key, and Ittybit's id for it.

    One that was called off before it left has a number that its job has not come to again.
    """
    rows = transaction.rows(
        select(Attempt.idempotency_key, Attempt.task_id)
        .join(Job, Job.id == Attempt.job_id)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(Chunk.batch_id == batch, Attempt.number <= Job.attempt)
    )
    return {row.idempotency_key: row.task_id for row in rows}


def open_work(transaction: Transaction) -> tuple[dict[str, int], int]:
    """Jobs of unfinished chunks by state, and how many flow runs wait."""
    row = transaction.execute(
        select(
            *(func.coalesce(func.sum(getattr(Chunk, name)), 0).label(name) for name in COLUMNS)
        ).where(Chunk.state.in_([ChunkState.PLANNED.value, ChunkState.RELEASED.value]))
    ).one()
    waiting = transaction.execute(
        select(func.count()).where(Run.state == RunState.WAITING.value)
    ).scalar_one()
    return {name: int(getattr(row, name)) for name in COLUMNS}, int(waiting)


def unfinished_batches(transaction: Transaction) -> list[str]:
    """Every batch that has not ended."""
    # Named one by one, they are found in an index.
    states = [state.value for state in BatchState if not state.ended]
    return [row.id for row in transaction.rows(select(Batch.id).where(Batch.state.in_(states)))]


def batch_of_run(transaction: Transaction, flow_run: str) -> str | None:
    """The batch that a flow run works for."""
    rows = transaction.rows(select(Run.batch_id).where(Run.flow_run_id == flow_run))
    return rows[0].batch_id if rows else None
