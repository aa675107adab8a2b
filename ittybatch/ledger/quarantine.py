"""Quarantine: jobs that are held back because they would fail again without a change.

A job that failed permanently, or was given up without an answer, keeps its claim: no batch
makes it again until its source or options change, or an operator releases it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, select, update

from ittybatch.ittybit.reasons import fits
from ittybatch.ledger.database import Ledger, Transaction
from ittybatch.ledger.models import Chunk, Item, Job
from ittybatch.ledger.recorded import end_recorded_before
from ittybatch.ledger.states import JobState

# A chunk has a few thousand jobs at most, and `release` locks the jobs that it changes.
_CHUNKS_AT_ONCE = 10
_ROWS_AT_ONCE = 1000
_CHUNKS_READ_AT_ONCE = 100
# Somebody waits for a look at this many, whatever was found in them.
MOST_CHUNKS_READ = 3000
# Every job that ended without success has a message; this is the condition of an index.
_INDEXED = Job.error_message.is_not(None)
_HELD = (JobState.FAILED.value, JobState.EXPIRED.value, JobState.CANCELLED.value)


@dataclass(frozen=True, slots=True)
class HeldFilter:
    """Which held jobs to find.

    Args:
        batch: Only of this batch.
        input_prefix: Only of items whose URI begins with this.
        state: Only those that ended in this state.
        alike: Only those that failed for this reason, see `RetryFilter`.
        recorded_before: Only those whose end the ledger had recorded before this time.
        job: Only this job.
    """

    batch: str | None = None
    input_prefix: str | None = None
    state: JobState | None = None
    alike: str | None = None
    recorded_before: datetime | None = None
    job: int | None = None

    def fits(self, row: Row[Any]) -> bool:
        """Whether a job that meets the conditions also has the reason."""
        return self.alike is None or fits(self.alike, row.error_kind, row.error_message)

    def conditions(self, chunks: Sequence[int]) -> list[ColumnElement[bool]]:
        """The conditions on jobs and items of some chunks."""
        found: list[ColumnElement[bool]] = [
            Job.chunk_id.in_(chunks),
            Job.state.in_(_HELD if self.state is None else [self.state.value]),
            Job.claim.is_not(None),
        ]
        if self.input_prefix:
            found.append(Item.uri.startswith(self.input_prefix, autoescape=True))
        if self.recorded_before is not None:
            found.append(end_recorded_before(self.recorded_before))
        if self.job is not None:
            found.append(Job.id == self.job)
        return found


@dataclass(frozen=True, slots=True)
class HeldCount:
    """How many jobs are held back.

    Args:
        kinds: The number of jobs by kind, those of the newest chunks first.
        is_part: Whether there are more, or chunks that were not looked at.
    """

    kinds: Counter[str]
    is_part: bool


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job that is held back, and why."""

    id: int
    batch_id: str
    chunk_id: int
    item_number: int
    input: str
    rendition: str
    kind: str
    state: JobState
    error_kind: str | None
    error_message: str | None
    since: datetime | None


def held_jobs(
    transaction: Transaction,
    *,
    batch: str | None = None,
    input_prefix: str | None = None,
    limit: int = 1000,
) -> list[HeldJob]:
    """Jobs that are held back, those of the newest chunks first.

    Args:
        transaction: The transaction to look in.
        batch: Only of this batch.
        input_prefix: Only of items whose URI begins with this.
        limit: The maximum number.
    """
    return find_held(transaction, HeldFilter(batch, input_prefix), limit=limit)


def find_held(
    transaction: Transaction,
    wanted: HeldFilter,
    *,
    limit: int,
    after: tuple[int, int] | None = None,
) -> list[HeldJob]:
    """Jobs that are held back, those of the newest chunks first.

    Args:
        transaction: The transaction to look in.
        wanted: Which of them.
        limit: The maximum number.
        after: Chunk and id of the last job of the page before.
    """
    found: list[HeldJob] = []
    before = None if after is None else after[0] + 1
    for chunks in _chunk_pages(transaction, wanted, before):
        found += _held_in(transaction, chunks, wanted, limit - len(found), after)
        if len(found) >= limit:
            break
    return found


def count_held(transaction: Transaction, wanted: HeldFilter, *, most: int) -> HeldCount:
    """Count jobs that are held back, by kind, in the newest `MOST_CHUNKS_READ` chunks.

    `release_some` with the same filter and the counted number releases these jobs.

    Args:
        transaction: The transaction to look in.
        wanted: Which of them.
        most: Where to stop.
    """
    found: Counter[str] = Counter()
    looked_at = 0
    for chunks in _chunk_pages(transaction, wanted, None):
        looked_at += len(chunks)
        for row in transaction.rows(_jobs(chunks, wanted).where(_INDEXED)):
            if wanted.fits(row):
                if found.total() == most:
                    return HeldCount(found, is_part=True)
                found[row.kind] += 1
    return HeldCount(found, is_part=looked_at >= MOST_CHUNKS_READ)


def release(ledger: Ledger, *, batch: str | None = None, input_prefix: str | None = None) -> int:
    """Release held jobs, a few chunks at a time: the next batch with their items makes them.

    Returns:
        How many were released.
    """
    return sum(release_some(ledger, HeldFilter(batch, input_prefix)))


def release_some(ledger: Ledger, wanted: HeldFilter, *, most: int | None = None) -> Iterator[int]:
    """Release held jobs, a few chunks at a time, each in a transaction of its own.

    Args:
        ledger: The ledger.
        wanted: Which of them.
        most: How many at most, in the chunks that `count_held` looks at. Without it, all.

    Yields:
        How many were released in each step.
    """
    before: int | None = None
    looked_at = 0
    while chunks := ledger.read(_next_chunks, wanted, before, _CHUNKS_AT_ONCE):
        count = ledger.write(_Release(chunks, wanted, most).make)
        yield count
        before = chunks[-1]
        looked_at += len(chunks)
        if most is not None:
            most -= count
            if most <= 0 or looked_at >= MOST_CHUNKS_READ:
                return


def _chunk_pages(
    transaction: Transaction, wanted: HeldFilter, before: int | None
) -> Iterator[list[int]]:
    for _ in range(MOST_CHUNKS_READ // _CHUNKS_READ_AT_ONCE):
        chunks = _next_chunks(transaction, wanted, before, _CHUNKS_READ_AT_ONCE)
        if not chunks:
            return
        yield chunks
        before = chunks[-1]


def _next_chunks(
    transaction: Transaction, wanted: HeldFilter, before: int | None, limit: int
) -> list[int]:
    """The newest chunks below `before` that have jobs that ended without success."""
    query = (
        select(Chunk.id)
        .where(Chunk.failed + Chunk.expired + Chunk.cancelled > 0)
        .order_by(Chunk.id.desc())
        .limit(limit)
    )
    if wanted.batch is not None:
        query = query.where(Chunk.batch_id == wanted.batch)
    if wanted.job is not None:
        query = query.where(
            Chunk.id == select(Job.chunk_id).where(Job.id == wanted.job).scalar_subquery()
        )
    if before is not None:
        query = query.where(Chunk.id < before)
    return [row.id for row in transaction.rows(query)]


def _held_in(
    transaction: Transaction,
    chunks: Sequence[int],
    wanted: HeldFilter,
    limit: int,
    after: tuple[int, int] | None,
) -> list[HeldJob]:
    query = (
        select(
            Job.id,
            Chunk.batch_id,
            Job.chunk_id,
            Job.item_number,
            Item.uri.label("input"),
            Job.rendition,
            Job.kind,
            Job.state,
            Job.error_kind,
            Job.error_message,
            Job.completed_at.label("since"),
        )
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(*wanted.conditions(chunks), _INDEXED)
        .order_by(Job.chunk_id.desc(), Job.id.desc())
    )
    if after is not None:
        chunk, job = after
        query = query.where((Job.chunk_id < chunk) | ((Job.chunk_id == chunk) & (Job.id < job)))
    if wanted.alike is None:
        query = query.limit(limit)
    rows = [row for row in transaction.rows(query) if wanted.fits(row)]
    return [HeldJob(**{**row._asdict(), "state": JobState(row.state)}) for row in rows[:limit]]


def _jobs(chunks: Sequence[int], wanted: HeldFilter) -> Select[Any]:
    query = select(Job.id, Job.kind, Job.error_kind, Job.error_message)
    if wanted.input_prefix:
        query = query.join(
            Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number)
        )
    return query.where(*wanted.conditions(chunks)).order_by(Job.chunk_id.desc(), Job.id)


@dataclass(slots=True)
class _Release:
    """A release of the jobs of some chunks.

    Args:
        chunks: The chunks.
        wanted: Which of their jobs.
        most: How many at most; None for all.
        tried: The jobs that it released when it was first tried. If the answer to its COMMIT was
            lost, it may be repeated after it was made.
    """

    chunks: Sequence[int]
    wanted: HeldFilter
    most: int | None
    tried: list[int] = field(default_factory=list)

    def make(self, transaction: Transaction) -> int:
        """Release the jobs; return how many."""
        if self.tried and not self._still_held(transaction):
            return len(self.tried)
        rows = transaction.rows(_jobs(self.chunks, self.wanted).with_for_update(of=Job))
        self.tried = [row.id for row in rows if self.wanted.fits(row)][: self.most]
        for part in _parts(self.tried):
            transaction.execute(update(Job).where(Job.id.in_(part)).values(claim=None))
        return len(self.tried)

    def _still_held(self, transaction: Transaction) -> bool:
        held = select(Job.id).where(Job.claim.is_not(None)).limit(1)
        return any(transaction.rows(held.where(Job.id.in_(part))) for part in _parts(self.tried))


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        yield ids[start : start + _ROWS_AT_ONCE]
