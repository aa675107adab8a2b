"""A ledger with one batch of a million jobs that has ended, and one that is under way."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, text

from bench.databases import open_at
from bench.full import fill
from bench.receiver import submitted
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.models import Batch, Chunk
from ittybatch.ledger.shares import count_shares
from ittybatch.ledger.states import ChunkState

_CHUNKS_AT_ONCE = 200
_DAY_S = 86_400
# The jobs of a chunk end one after another; those of a day, spread over a day.
_BEGAN = "(SELECT :day * number / :chunks FROM chunks WHERE chunks.id = jobs.chunk_id)"
_SINCE_S = f"({_BEGAN} + 60 * (id % 20))"
_SPREAD = {
    "sqlite": "UPDATE jobs SET completed_at = "
    f"strftime('%Y-%m-%d %H:%M:%S.000000', :first, '+' || {_SINCE_S} || ' seconds') "
    "WHERE state IN ('succeeded', 'failed')",
    "postgresql": "UPDATE jobs SET completed_at = CAST(:first AS timestamptz) "
    f"+ make_interval(secs => {_SINCE_S}) WHERE state IN ('succeeded', 'failed')",
}


def fill_large(url: str, jobs: int, *, chunk_items: int, in_flight: int) -> list[bytes]:
    """Fill a ledger; returns the webhooks of the jobs in flight.

    Args:
        url: The ledger.
        jobs: Jobs of the batch that has ended, within the last day.
        chunk_items: Its items in a chunk.
        in_flight: Jobs of the batch that is under way.
    """
    ledger = open_at(url)
    fill(ledger, jobs, chunk_items=chunk_items, batch_jobs=jobs)
    ledger.write(_spread)
    chunks = ledger.read(_done)
    for start in range(0, len(chunks), _CHUNKS_AT_ONCE):
        ledger.write(count_shares, chunks[start : start + _CHUNKS_AT_ONCE])
    bodies = submitted(url, in_flight)
    _maintain(ledger)
    ledger.close()
    return bodies


def batches_of(ledger: Ledger) -> tuple[str, str]:
    """The batch that has ended, and the one under way."""
    rows = ledger.read(lambda tx: tx.rows(select(Batch.id).order_by(Batch.created_at)))
    return rows[0].id, rows[-1].id


def _spread(transaction: Transaction) -> None:
    first = transaction.now - timedelta(days=1)
    dialect = transaction.connection.dialect.name
    values = {
        "first": str(first.replace(tzinfo=None))[:19] if dialect == "sqlite" else first,
        "day": _DAY_S - 30 * 60,
        "chunks": len(_done(transaction)),
    }
    transaction.execute(text(_SPREAD[dialect]), values)
    ended = {"ended": str(transaction.now)[:26] if dialect == "sqlite" else transaction.now}
    transaction.execute(text("UPDATE batches SET ended_at = :ended"), ended)


def _done(transaction: Transaction) -> Sequence[int]:
    query = select(Chunk.id).where(Chunk.state == ChunkState.DONE.value).order_by(Chunk.id)
    return [row.id for row in transaction.rows(query)]


def _maintain(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(
            text("ANALYZE" if ledger.engine.dialect.name == "sqlite" else "VACUUM ANALYZE")
        )
