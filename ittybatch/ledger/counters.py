"""Each chunk's jobs counted by state, kept in step with the rows."""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import BigInteger, ColumnElement, Integer, case, func, select, update

from ittybatch.ledger.bulk import BulkStatement
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Chunk, Job
from ittybatch.ledger.states import JobState

_SECOND = 2
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


def recount(transaction: Transaction, batch: str) -> list[tuple[int, Mapping[str, int]]]:
    """Check a batch's counters against its rows and mend those that differ.

    Returns:
        The chunks that were mended, each with what its rows really say.
    """
    chunks = transaction.rows(
        select(Chunk)
        .with_only_columns(Chunk.id, Chunk.number, *(getattr(Chunk, column) for column in _CHECKED))
        .where(Chunk.batch_id == batch)
        .order_by(Chunk.id)
        .with_for_update()
    )
    counted = {
        row.chunk_id: row
        for row in transaction.rows(
            select(
                Job.chunk_id,
                *(
                    func.sum(case((Job.state.in_(states), 1), else_=0)).label(column)
                    for column, states in _STATES_OF_COLUMN.items()
                ),
                func.sum(case((attempts_of(Job) >= _SECOND, 1), else_=0)).label("retried"),
            )
            .join(Chunk, Chunk.id == Job.chunk_id)
            .where(Chunk.batch_id == batch)
            .group_by(Job.chunk_id)
        )
    }
    mended: list[tuple[int, Mapping[str, int]]] = []
    for chunk in chunks:
        row = counted.get(chunk.id)
        true = {column: int(getattr(row, column)) if row else 0 for column in _CHECKED}
        if any(getattr(chunk, column) != count for column, count in true.items()):
            transaction.execute(update(Chunk).where(Chunk.id == chunk.id).values(true))
            mended.append((chunk.number, true))
    return mended
