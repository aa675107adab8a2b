"""What a batch came to, job by job: read in pages, however many millions there are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select, tuple_

from ittybatch.ledger.database import Ledger, Transaction
from ittybatch.ledger.models import Batch, Item, Job
from ittybatch.ledger.queries import JOB_COLUMNS, JobRow, chunk_sizes, together
from ittybatch.ledger.states import JobState

PAGE = 2000


@dataclass(frozen=True, slots=True)
class Result(JobRow):
    """A job as the completion report tells it.

    Args:
        chunk_id: Chunk that it belongs to.
        options: What was asked of Ittybit, as canonical JSON.
        input_size_bytes: Size of the item where the source told it.
        check: What a look at the output came to; None where nobody looked.
    """

    chunk_id: int
    options: str
    input_size_bytes: int | None
    check: str | None = None


def result_pages(
    ledger: Ledger, batch: str, *, states: Sequence[JobState] = ()
) -> Iterator[list[Result]]:
    """Every job of a batch in the order it was planned, each page read by itself.

    Page by page means chunk by chunk: a query over all of a batch's jobs would be sorted anew
    for each page.

    Args:
        ledger: Where the batch is.
        batch: Its id.
        states: Only jobs in these; in any where there are none.
    """
    for chunks in together(ledger.read(chunk_sizes, batch)):
        after = (0, 0)
        while rows := ledger.read(_results, chunks, after, states):
            yield rows
            if len(rows) < PAGE:
                break
            after = (rows[-1].chunk_id, rows[-1].id)


def options_of(transaction: Transaction, batch: str) -> dict[str, Any]:
    """The options that a batch was started with."""
    row = transaction.execute(select(Batch.options).where(Batch.id == batch)).one()
    return dict(row.options)


def _results(
    transaction: Transaction,
    chunks: Sequence[int],
    after: tuple[int, int],
    states: Sequence[JobState],
) -> list[Result]:
    query = (
        select(
            *JOB_COLUMNS,
            Job.chunk_id,
            Job.options,
            Item.size_bytes.label("input_size_bytes"),
        )
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(Job.chunk_id.in_(chunks), tuple_(Job.chunk_id, Job.id) > after)
        .order_by(Job.chunk_id, Job.id)
        .limit(PAGE)
    )
    if states:
        query = query.where(Job.state.in_([state.value for state in states]))
    return [
        Result(**{**row._asdict(), "state": JobState(row.state)}) for row in transaction.rows(query)
    ]
