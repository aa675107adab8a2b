"""Search for jobs: a page at a time, in bounded time, in a ledger of any size.

Ids, keys and whole addresses are looked up in indexes. Everything else is looked for from the
newest chunk to the oldest; a chunk's counters tell whether it can have a job that is wanted. A
search that finds little stops after a number of jobs, and says where to go on.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, and_, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from ittybatch.ledger.counters import COLUMNS, attempts_of, column_of
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.exact import exact_jobs
from ittybatch.ledger.models import Batch, Chunk, Item, Job
from ittybatch.ledger.results import OUTCOME_COLUMNS
from ittybatch.ledger.states import JobState

# A search reads through this many jobs, or works for this long, and then says where to go on.
LOOK_AT = 20_000
_LOOK_S = 0.12
_FIRST_JOBS = 400
_MOST_JOBS = 8000
_MOST_CHUNKS = 200
_MOST_EXACT = 200
_MAX_DIGITS = 18
_MAX_CHARS = 8000
_AFTER_EVERY_JOB = 10**_MAX_DIGITS - 1
_WITH_ERROR = frozenset({JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class JobSearch:
    """Which jobs to find.

    Args:
        batch: Only of this batch.
        states: Only in these states; every state if empty.
        rendition: Only of this rendition.
        kind: Only of this kind.
        text: An id of Ittybit or of the ledger, a job key, or a part of the address of the input,
            the output or the destination.
        metadata: A part of the user's own pairs, or `name=value`.
    """

    batch: str | None = None
    states: Sequence[JobState] = ()
    rendition: str | None = None
    kind: str | None = None
    text: str = ""
    metadata: str = ""

    @property
    def possible(self) -> bool:
        """Whether a job can have these texts. A database refuses a NUL, and patterns that long."""
        given = (self.batch, self.rendition, self.kind, self.text, self.metadata)
        return all("\x00" not in text and len(text) <= _MAX_CHARS for text in given if text)


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A job as the list of a search shows it."""

    id: int
    chunk_id: int
    item_number: int
    batch_id: str
    batch_name: str
    input: str
    rendition: str
    kind: str
    state: JobState
    attempts: int
    task_id: str | None
    destination: str | None
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

    @property
    def place(self) -> str:
        """Where it stands among all jobs, to read the page after it or before it."""
        return f"{self.chunk_id}.{self.id}"


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of jobs, the newest first.

    Args:
        jobs: The jobs.
        exact: Whether the text was an id, a key or a whole address: these are all such jobs.
        looked_at: Jobs that were looked at.
        after: What to read older jobs after; None if there are none.
        before: What to read newer jobs before; None if this is the first page.
    """

    jobs: Sequence[FoundJob]
    exact: bool
    looked_at: int
    after: str | None
    before: str | None


def search_jobs(
    transaction: Transaction,
    wanted: JobSearch,
    *,
    after: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> JobPage:
    """A page of the jobs that fit.

    Args:
        transaction: The transaction to look in.
        wanted: Which jobs to find.
        after: Only older jobs: `after` of a page.
        before: Only newer jobs: `before` of a page.
        limit: The maximum number.

    Raises:
        ValueError: when `after` or `before` is not of a page.
    """
    if not wanted.possible:
        return JobPage([], exact=False, looked_at=0, after=None, before=None)
    if wanted.text and (ids := exact_jobs(transaction, wanted.text, _MOST_EXACT)):
        query = _jobs(transaction, wanted, in_text=False).where(Job.id.in_(ids))
        if found := _read(transaction, query.order_by(Job.chunk_id.desc(), Job.id.desc())):
            return JobPage(found, exact=True, looked_at=len(ids), after=None, before=None)
    cursor = _parse(before or after)
    scan = _Scan(transaction, wanted, older=before is None, limit=limit)
    found, go_on = scan.run(cursor)
    if before is None:
        newer = (found[0].place if found else after) if after else None
        return JobPage(found, exact=False, looked_at=scan.looked_at, after=go_on, before=newer)
    if not found and go_on is None:
        return search_jobs(transaction, wanted, limit=limit)
    found.reverse()
    older = found[-1].place if found else before
    return JobPage(found, exact=False, looked_at=scan.looked_at, after=older, before=go_on)


class _Scan:
    """Looks through chunks in one direction until a page is full, or enough has been looked at."""

    def __init__(
        self, transaction: Transaction, wanted: JobSearch, *, older: bool, limit: int
    ) -> None:
        self.looked_at = 0
        self._transaction = transaction
        self._wanted = wanted
        self._older = older
        self._limit = limit
        columns = {column_of(state) for state in wanted.states} or COLUMNS
        first, *others = (getattr(Chunk, name) for name in sorted(columns))
        self._jobs = sum(others, start=first)

    def run(self, cursor: tuple[int, int] | None) -> tuple[list[FoundJob], str | None]:
        """The jobs, and where to go on, if there may be more."""
        until_s = time.monotonic() + _LOOK_S
        found: list[FoundJob] = []
        size = _FIRST_JOBS
        while True:
            chunks = self._chunks(cursor)
            while chunks:
                window, chunks = _split(chunks, size)
                size = min(2 * size, _MOST_JOBS)
                ids = [chunk for chunk, _ in window]
                found += self._in_window(ids, cursor, self._limit + 1 - len(found))
                if len(found) > self._limit:
                    self.looked_at += sum(jobs for _, jobs in window)
                    return found[: self._limit], found[self._limit - 1].place
                self.looked_at += sum(jobs for _, jobs in window)
                cursor = (ids[-1], 0 if self._older else _AFTER_EVERY_JOB)
                if self.looked_at >= LOOK_AT or time.monotonic() > until_s:
                    return found, ".".join(map(str, cursor))
            if not self._chunks(cursor, limit=1):
                return found, None

    def _chunks(
        self, cursor: tuple[int, int] | None, limit: int = _MOST_CHUNKS
    ) -> list[tuple[int, int]]:
        """The next chunks that may have jobs that are wanted, and how many."""
        order = Chunk.id.desc() if self._older else Chunk.id.asc()
        query = (
            select(Chunk.id, self._jobs.label("jobs"))
            .where(self._jobs > 0)
            .order_by(order)
            .limit(limit)
        )
        if self._wanted.batch is not None:
            query = query.where(Chunk.batch_id == self._wanted.batch)
        if cursor is not None:
            chunk, job = cursor
            # A chunk that has been looked through to its end is left out.
            through = job in {0, _AFTER_EVERY_JOB}
            beyond = Chunk.id < chunk if self._older else Chunk.id > chunk
            query = query.where(beyond if through else or_(beyond, Chunk.id == chunk))
        return [(row.id, row.jobs) for row in self._transaction.rows(query)]

    def _in_window(
        self, chunks: Sequence[int], cursor: tuple[int, int] | None, limit: int
    ) -> list[FoundJob]:
        place = tuple_(Job.chunk_id, Job.id)
        query = _jobs(self._transaction, self._wanted).where(Job.chunk_id.in_(chunks)).limit(limit)
        if cursor is not None:
            query = query.where(place < cursor if self._older else place > cursor)
        if self._older:
            query = query.order_by(Job.chunk_id.desc(), Job.id.desc())
        else:
            query = query.order_by(Job.chunk_id, Job.id)
        return _read(self._transaction, query)


def _split(
    chunks: list[tuple[int, int]], jobs: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The first chunks with about this many jobs, and the others."""
    total = 0
    for place, (_, count) in enumerate(chunks, 1):
        total += count
        if total >= jobs:
            return chunks[:place], chunks[place:]
    return chunks, []


def _parse(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    parts = cursor.split(".")
    if len(parts) != 2 or not all(  # noqa: PLR2004  a chunk and a job
        part.isascii() and part.isdigit() and len(part) <= _MAX_DIGITS for part in parts
    ):
        raise ValueError(f"{cursor[:50]!r} is no place in a list of jobs.")
    return int(parts[0]), int(parts[1])


def _jobs(transaction: Transaction, wanted: JobSearch, *, in_text: bool = True) -> Select[Any]:
    """The query for the columns of `FoundJob`, with the conditions of a search."""
    query = (
        select(*_COLUMNS)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Batch, Batch.id == Chunk.batch_id)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
    )
    if wanted.batch is not None:
        query = query.where(Chunk.batch_id == wanted.batch)
    if wanted.states:
        query = query.where(Job.state.in_([state.value for state in wanted.states]))
        if _WITH_ERROR.issuperset(wanted.states):
            query = query.where(Job.error_message.is_not(None))  # the condition of an index
    if wanted.rendition:
        query = query.where(Job.rendition == wanted.rendition)
    if wanted.kind:
        query = query.where(Job.kind == wanted.kind)
    if wanted.metadata:
        query = query.where(_has(transaction, Job.user_metadata, _as_stored(wanted.metadata)))
    if wanted.text and in_text:
        places = (Item.uri, Job.destination, Job.output_url)
        query = query.where(or_(*(_has(transaction, place, wanted.text) for place in places)))
    return query


def _has(
    transaction: Transaction, place: InstrumentedAttribute[Any], text: str
) -> ColumnElement[bool]:
    """Whether a column contains a text, ignoring case. SQLite's LIKE ignores the case of ASCII."""
    if transaction.postgres:
        return place.icontains(text, autoescape=True)
    return place.contains(text, autoescape=True)


def _as_stored(metadata: str) -> str:
    """Text of metadata as the ledger's JSON has it: `show=pilot` is `"show":"pilot"`."""
    name, equals, value = metadata.partition("=")
    if equals and name.strip():
        return f"{orjson.dumps(name.strip()).decode()}:{orjson.dumps(value.strip()).decode()}"
    return orjson.dumps(metadata).decode()[1:-1]


def _read(transaction: Transaction, query: Select[Any]) -> list[FoundJob]:
    return [
        FoundJob(
            **{**row._asdict(), "state": JobState(row.state), "attempts": max(0, row.attempts)}
        )
        for row in transaction.rows(query)
    ]


_COLUMNS = (
    Job.id,
    Job.chunk_id,
    Job.item_number,
    Chunk.batch_id,
    Batch.name.label("batch_name"),
    Item.uri.label("input"),
    Job.rendition,
    Job.kind,
    Job.state,
    attempts_of(Job).label("attempts"),
    Job.task_id,
    Job.destination,
    *OUTCOME_COLUMNS,
)
