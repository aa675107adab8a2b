"""Counters of each chunk's jobs by state, kept in step with the job rows."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    case,
    func,
    select,
    true,
    union,
    update,
)

from ittybatch.ledger.bulk import BulkStatement
from ittybatch.ledger.database import Ledger, Transaction
from ittybatch.ledger.models import Batch, Chunk, Job
from ittybatch.ledger.states import BatchState, ChunkState, JobState

_SECOND_ATTEMPT = 2
# A chunk is checked for this long after it is done, even if its batch has ended.
_CHECK_AFTER_DONE_S = 3600.0
_NEWEST_BATCHES = 20
COLUMNS = ("planned", "in_flight", "succeeded", "failed", "cancelled", "expired")
_STATES_OF_COLUMN = {
    column: [
        state.value
        for state in JobState
        if (column == "in_flight" if state.in_flight else column == state.value)
    ]
    for column in COLUMNS
}

_DELTAS = (*COLUMNS, "sent", "retried")
_CHECKED = (*COLUMNS, "retried")
_ADD = BulkStatement(
    {"chunk": BigInteger, **{f"d_{column}": Integer for column in _DELTAS}},
    lambda given: (
        update(Chunk)
        .where(Chunk.id == given.c.chunk)
        .values({column: getattr(Chunk, column) + given.c[f"d_{column}"] for column in _DELTAS})
    ),
)


def attempts_of(job: type[Job]) -> ColumnElement[int]:
    """How many attempts a job's batch has made; attempt numbers count across batches."""
    return job.attempt - (job.last_attempt - job.attempts)


def column_of(state: JobState) -> str:
    """The counter that a job in this state is counted in."""
    return "in_flight" if state.in_flight else state.value


class Moves:
    """Collects moves of jobs between states, to update each chunk's counters once."""

    def __init__(self) -> None:
        self._deltas: dict[int, Counter[str]] = {}

    def add(self, chunk: int, old: JobState | None, new: JobState) -> None:
        """Record that a job of `chunk` went from `old` (None: it is new) to `new`."""
        deltas = self._deltas.setdefault(chunk, Counter())
        if old is not None:
            deltas[column_of(old)] -= 1
        deltas[column_of(new)] += 1

    def count_sent(self, chunk: int, attempt: int, submissions: int = 1) -> None:
        """Count a submission, or with -1, take one back.

        Args:
            chunk: The job's chunk.
            attempt: The number of the batch's attempt at this job, from 1.
            submissions: 1 or -1.
        """
        deltas = self._deltas.setdefault(chunk, Counter())
        deltas["sent"] += submissions
        if attempt == _SECOND_ATTEMPT:
            deltas["retried"] += submissions

    @property
    def chunks(self) -> list[int]:
        """Every chunk in which a job moved, in lock order."""
        return sorted(self._deltas)

    def apply(self, transaction: Transaction) -> None:
        """Add the moves to the counters."""
        rows = [
            {"chunk": chunk, **{f"d_{column}": deltas[column] for column in _DELTAS}}
            for chunk, deltas in sorted(self._deltas.items())
            if any(deltas.values())
        ]
        _ADD.run(transaction, rows)


@dataclass(frozen=True, slots=True)
class Mended:
    """A chunk whose counters were wrong and are corrected.

    Args:
        batch: Its batch.
        number: Its number there.
        counts: The counts of its rows.
    """

    batch: str
    number: int
    counts: Mapping[str, int]


def recount_all(ledger: Ledger) -> Iterator[Mended]:
    """Check the counters of every chunk that may have changed recently, and correct them.

    Checking takes no lock: one statement reads counters and rows in one snapshot. Only a chunk
    that differs is locked, alone, and counted again.
    """
    for chunk in ledger.read(_chunks_to_count):
        if ledger.read(_difference, chunk) is None:
            continue
        if (mended := ledger.write(_mend, chunk)) is not None:
            yield mended


def recount(transaction: Transaction, batch: str) -> list[tuple[int, Mapping[str, int]]]:
    """Check all counters of a batch against its rows, and correct those that differ.

    Returns:
        The corrected chunks, each with the counts of its rows.
    """
    rows = transaction.rows(select(Chunk.id).where(Chunk.batch_id == batch).order_by(Chunk.id))
    differing = [row.id for row in rows if _difference(transaction, row.id) is not None]
    mended = [_mend(transaction, chunk) for chunk in differing]
    return [(each.number, each.counts) for each in mended if each is not None]


def _chunks_to_count(transaction: Transaction) -> list[int]:
    """Released chunks, and recently done chunks of open batches and of the newest ones."""
    newest = select(Batch.id).order_by(Batch.id.desc()).limit(_NEWEST_BATCHES).subquery()
    open_states = [state.value for state in BatchState if not state.ended]
    batches = select(Batch.id).where(Batch.state.in_(open_states)).union(select(newest.c.id))
    released = select(Chunk.id).where(Chunk.state == ChunkState.RELEASED.value)
    recently = transaction.now - timedelta(seconds=_CHECK_AFTER_DONE_S)
    done = select(Chunk.id).where(Chunk.batch_id.in_(batches), Chunk.ended_at >= recently)
    return sorted(row.id for row in transaction.rows(union(released, done)))


def _difference(transaction: Transaction, chunk: int) -> Mended | None:
    """The counts of a chunk's rows, or None if its counters agree with them."""
    counted = (
        select(
            *(
                func.coalesce(func.sum(case((Job.state.in_(states), 1), else_=0)), 0).label(column)
                for column, states in _STATES_OF_COLUMN.items()
            ),
            func.coalesce(
                func.sum(case((attempts_of(Job) >= _SECOND_ATTEMPT, 1), else_=0)), 0
            ).label("retried"),
        )
        .where(Job.chunk_id == chunk)
        .subquery("counted")
    )
    row = transaction.execute(
        select(
            Chunk.batch_id,
            Chunk.number,
            *(getattr(Chunk, column).label(f"said_{column}") for column in _CHECKED),
            *counted.c,
        )
        .join(counted, true())
        .where(Chunk.id == chunk)
    ).one()
    counts = {column: int(getattr(row, column)) for column in _CHECKED}
    if all(getattr(row, f"said_{column}") == count for column, count in counts.items()):
        return None
    return Mended(row.batch_id, row.number, counts)


def _mend(transaction: Transaction, chunk: int) -> Mended | None:
    """Lock a chunk, count it again, and set its counters if they differ."""
    transaction.execute(select(Chunk.id).where(Chunk.id == chunk).with_for_update())
    found = _difference(transaction, chunk)
    if found is not None:
        transaction.execute(update(Chunk).where(Chunk.id == chunk).values(found.counts))
    return found
