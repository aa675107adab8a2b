"""A batch's jobs, failures and rejected rows, read in pages: a batch may have millions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, select, tuple_

from ittybatch.ledger.counters import COLUMNS, attempts_of
from ittybatch.ledger.database import Ledger, Transaction
from ittybatch.ledger.models import Batch, Chunk, Item, Job, Reject
from ittybatch.ledger.states import (
    JobState,
)

PAGE = 2000


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


# How a job ended, and what came out.
OUTCOME_COLUMNS = (
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
# The columns of a `JobRow`, of a job and its item.
_JOB_COLUMNS = (
    Job.id,
    Item.uri.label("input"),
    Job.rendition,
    Job.kind,
    Job.state,
    attempts_of(Job).label("attempts"),
    Job.job_key,
    Job.destination,
    Job.task_id,
    *OUTCOME_COLUMNS,
)


@dataclass(frozen=True, slots=True)
class Result(JobRow):
    """A job as the completion report shows it.

    Args:
        chunk_id: The chunk that it belongs to.
        options: The options that were sent to Ittybit, as canonical JSON.
        user_metadata: The user's metadata, as a JSON object.
        fingerprint: Version or ETag of the item, if the source gave it.
        input_size_bytes: Size of the item, if the source gave it.
        check: What the check of the output found; None if it was not checked.
    """

    chunk_id: int
    options: str
    user_metadata: str
    fingerprint: str | None
    input_size_bytes: int | None
    check: str | None = None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which of a batch's jobs to read.

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


def _chunk_sizes(transaction: Transaction, batch: str) -> list[tuple[int, int]]:
    """A batch's chunks, each with how many jobs it has."""
    first, *others = (getattr(Chunk, name) for name in COLUMNS)
    jobs = sum(others, start=first).label("jobs")
    query = select(Chunk.id, jobs).where(Chunk.batch_id == batch).order_by(Chunk.id)
    return [(row.id, row.jobs) for row in transaction.rows(query)]


def _pages_of(chunks: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Group chunks so that each group has about a page of jobs; one chunk may have several pages.

    Args:
        chunks: Id and number of jobs of each chunk.
    """
    group: list[int] = []
    size = 0
    for chunk, jobs in chunks:
        if group and size + jobs > PAGE:
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


def reject_rows(
    transaction: Transaction, batch: str, after: int = -1, *, limit: int = PAGE
) -> list[dict[str, Any]]:
    """A page of a batch's rejected rows, those with a number larger than `after`."""
    rows = transaction.rows(
        select(Reject.number, Reject.line, Reject.field, Reject.reason, Reject.row)
        .where(Reject.batch_id == batch, Reject.number > after)
        .order_by(Reject.number)
        .limit(limit)
    )
    return [row._asdict() for row in rows]


def reject_pages(ledger: Ledger, batch: str) -> Iterator[list[dict[str, Any]]]:
    """A batch's rejected rows in the order of the source, a page at a time."""
    after = -1
    while rows := ledger.read(reject_rows, batch, after):
        yield rows
        after = rows[-1]["number"]


def result_pages(
    ledger: Ledger, batch: str, *, states: Sequence[JobState] = (), only: JobFilter = EVERY_JOB
) -> Iterator[list[Result]]:
    """Every job of a batch in the order it was planned, a page at a time.

    Pages follow chunks: a query over all jobs of a batch would sort them again for each page.

    Args:
        ledger: The ledger to read.
        batch: The batch's id.
        states: Only jobs in these states; all jobs if empty.
        only: Only jobs that this filter keeps.
    """
    for chunks in _pages_of(ledger.read(_chunk_sizes, batch)):
        after = (0, 0)
        while rows := ledger.read(_results, chunks, after, states, only):
            yield rows
            if len(rows) < PAGE:
                break
            after = (rows[-1].chunk_id, rows[-1].id)


def all_job_rows(
    ledger: Ledger, batch: str, *, states: Sequence[JobState] = (), only: JobFilter = EVERY_JOB
) -> Iterator[Result]:
    """Every job of a batch in the order it was planned; arguments as for `result_pages`."""
    for page in result_pages(ledger, batch, states=states, only=only):
        yield from page


def job_result(transaction: Transaction, job: int) -> Result | None:
    """One job as the completion report shows it; None if there is no such job."""
    rows = transaction.rows(_result_query().where(Job.id == job))
    return _result(rows[0]) if rows else None


def options_of(transaction: Transaction, batch: str) -> dict[str, Any]:
    """The options that a batch was started with."""
    row = transaction.execute(select(Batch.options).where(Batch.id == batch)).one()
    return dict(row.options)


def _results(
    transaction: Transaction,
    chunks: Sequence[int],
    after: tuple[int, int],
    states: Sequence[JobState],
    only: JobFilter,
) -> list[Result]:
    query = (
        _result_query()
        .where(Job.chunk_id.in_(chunks), tuple_(Job.chunk_id, Job.id) > after, *only.conditions())
        .order_by(Job.chunk_id, Job.id)
        .limit(PAGE)
    )
    if states:
        query = query.where(Job.state.in_([state.value for state in states]))
    return [_result(row) for row in transaction.rows(query)]


def _result_query() -> Select[Any]:
    return select(
        *_JOB_COLUMNS,
        Job.chunk_id,
        Job.options,
        Job.user_metadata,
        Item.fingerprint,
        Item.size_bytes.label("input_size_bytes"),
    ).join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))


def _result(row: Row[Any]) -> Result:
    return Result(**{**row._asdict(), "state": JobState(row.state)})
