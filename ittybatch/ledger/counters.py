"""Each chunk's jobs counted by state, kept in step with the rows."""

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

_SECOND = 2
# A chunk is counted once more after it is done, also where its batch ended with it.
_LATELY_S = 3600.0
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
    """How many attempts its batch has made at a job: the numbers count across batches."""
    return job.attempt - (job.last_attempt - job.attempts)


def column_of(state: JobState) -> str:
    """The counter that a job in this state is counted in."""
    return "in_flight" if state.in_flight else state.value


class Moves:
    """Moves of jobs between states, gathered for one update a chunk."""

    def __init__(self) -> None:
        self._deltas: dict[int, Counter[str]] = {}

    def add(self, chunk: int, old: JobState | None, new: JobState) -> None:
        """Note that a job of `chunk` went from `old` (None: it is new) to `new`."""
        deltas = self._deltas.setdefault(chunk, Counter())
        if old is not None:
            deltas[column_of(old)] -= 1
        deltas[column_of(new)] += 1

    def count_sent(self, chunk: int, attempt: int, submissions: int = 1) -> None:
        """Note a submission that was made, or with -1, was not after all.

        Args:
            chunk: The job's chunk.
            attempt: Which attempt of this batch at the job it is, from 1.
            submissions: 1 or -1.
        """
        deltas = self._deltas.setdefault(chunk, Counter())
        deltas["sent"] += submissions
        if attempt == _SECOND:
            deltas["retried"] += submissions

    @property
    def chunks(self) -> list[int]:
        """Every chunk that something moved in, in the order that locks are taken in."""
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
    """A chunk whose counters were wrong.

    Args:
        batch: Its batch.
        number: Its number there.
        counts: What its rows really say.
    """

    batch: str
    number: int
    counts: Mapping[str, int]


def recount_all(ledger: Ledger) -> Iterator[Mended]:
    """Check the counters of every chunk that may have changed lately, and mend those that differ.

    Checking takes no lock: counters and rows are read by one statement, which sees them as one
    transaction left them. Only a chunk that differs is locked, alone, while it is counted again.
    """
    for chunk in ledger.read(_chunks_to_count):
        if ledger.read(_difference, chunk) is None:
            continue
        if (mended := ledger.write(_mend, chunk)) is not None:
            yield mended


def recount(transaction: Transaction, batch: str) -> list[tuple[int, Mapping[str, int]]]:
    """Check all of a batch's counters against its rows and mend those that differ.

    Returns:
        The chunks that were mended, each with what its rows really say.
    """
    rows = transaction.rows(select(Chunk.id).where(Chunk.batch_id == batch).order_by(Chunk.id))
    differing = [row.id for row in rows if _difference(transaction, row.id) is not None]
    mended = [_mend(transaction, chunk) for chunk in differing]
    return [(each.number, each.counts) for each in mended if each is not None]


def _chunks_to_count(transaction: Transaction) -> list[int]:
    """Chunks that are released, and those of open or new batches that were done lately."""
    newest = select(Batch.id).order_by(Batch.id.desc()).limit(_NEWEST_BATCHES).subquery()
    open_states = [state.value for state in BatchState if not state.ended]
    batches = select(Batch.id).where(Batch.state.in_(open_states)).union(select(newest.c.id))
    released = select(Chunk.id).where(Chunk.state == ChunkState.RELEASED.value)
    lately = transaction.now - timedelta(seconds=_LATELY_S)
    done = select(Chunk.id).where(Chunk.batch_id.in_(batches), Chunk.ended_at >= lately)
    return sorted(row.id for row in transaction.rows(union(released, done)))


def _difference(transaction: Transaction, chunk: int) -> Mended | None:
    """What a chunk's rows say, if its counters say anything else."""
    counted = (
        select(
            *(
                func.coalesce(func.sum(case((Job.state.in_(states), 1), else_=0)), 0).label(column)
                for column, states in _STATES_OF_COLUMN.items()
            ),
            func.coalesce(func.sum(case((attempts_of(Job) >= _SECOND, 1), else_=0)), 0).label(
                "retried"
            ),
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
    """Count a chunk again while nobody can move its jobs' counters, and set what differs."""
    transaction.execute(select(Chunk.id).where(Chunk.id == chunk).with_for_update())
    found = _difference(transaction, chunk)
    if found is not None:
        transaction.execute(update(Chunk).where(Chunk.id == chunk).values(found.counts))
    return found
