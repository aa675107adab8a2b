"""The pulse: how many jobs ended, minute by minute.

Jobs of chunks that are done were counted when the chunk was done. Only jobs of released chunks are
counted when somebody looks, up to a limit.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Select, func, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Chunk, ChunkMinute, Job
from ittybatch.ledger.progress import JOBS, LIVE_JOBS, chunks_that_fit
from ittybatch.ledger.shares import ended_by_itself, minute_of, minute_sums
from ittybatch.ledger.states import ChunkState

_MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Bar:
    """The jobs that ended in a stretch of time.

    Args:
        at: When it began.
        succeeded: Jobs that succeeded.
        other: Jobs that failed, were given up, or were cancelled at Ittybit.
    """

    at: datetime
    succeeded: int
    other: int


def pulse(
    transaction: Transaction, over: timedelta, bars: int = 60, *, batch: str | None = None
) -> list[Bar]:
    """Jobs that ended, in stretches of equal length up to now.

    Args:
        transaction: The transaction to look in.
        over: How far to look back: whole minutes, `bars` times some number of them.
        bars: The number of stretches.
        batch: Only jobs of this batch.

    Raises:
        ValueError: when a stretch would not be a number of whole minutes.
    """
    width_s, rest = divmod(int(over.total_seconds()), bars)
    if rest or width_s % _MINUTE_S or not width_s:
        raise ValueError(f"{over} in {bars} parts: each part must be whole minutes.")
    now_s = int(transaction.now.timestamp())
    first_s = now_s - now_s % width_s - (bars - 1) * width_s
    succeeded: Counter[int] = Counter()
    other: Counter[int] = Counter()
    since = datetime.fromtimestamp(first_s, UTC)
    for at, (good, bad) in _by_minute(transaction, since, batch).items():
        place = (int(at.timestamp()) - first_s) // width_s
        succeeded[place] += good
        other[place] += bad
    return [
        Bar(datetime.fromtimestamp(first_s + place * width_s, UTC), succeeded[place], other[place])
        for place in range(bars)
    ]


def ended_lately(
    transaction: Transaction, batches: Sequence[str], over_s: float = 600
) -> dict[str, float]:
    """Jobs of batches that ended per minute recently; a batch without any is left out.

    Args:
        transaction: The transaction to look in.
        batches: Ids of the batches.
        over_s: Seconds to look back at most.
    """
    now = transaction.now
    since = now - timedelta(seconds=over_s)
    released = select(Chunk.id, JOBS).where(
        Chunk.batch_id.in_(batches), Chunk.state == ChunkState.RELEASED.value
    )
    chunks, _ = chunks_that_fit(transaction, released, LIVE_JOBS)
    live = (
        select(
            Chunk.batch_id,
            func.count().label("jobs"),
            func.min(Job.completed_at).label("first"),
        )
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(Job.chunk_id.in_(chunks), Job.completed_at >= since, ended_by_itself())
        .group_by(Chunk.batch_id)
    )
    done = (
        select(
            Chunk.batch_id,
            func.sum(ChunkMinute.succeeded + ChunkMinute.other).label("jobs"),
            func.min(ChunkMinute.minute).label("first"),
        )
        .join(Chunk, Chunk.id == ChunkMinute.chunk_id)
        .where(Chunk.batch_id.in_(batches), ChunkMinute.minute >= since)
        .group_by(Chunk.batch_id)
    )
    jobs: Counter[str] = Counter()
    first: dict[str, datetime] = {}
    for row in [*transaction.rows(done), *(transaction.rows(live) if chunks else ())]:
        jobs[row.batch_id] += int(row.jobs)
        first[row.batch_id] = min(row.first, first.get(row.batch_id, row.first))
    # Divide by the time since the first end: the batch may have begun less than `over_s` ago.
    return {
        batch: _MINUTE_S * count / max((now - first[batch]).total_seconds(), 1.0)
        for batch, count in jobs.items()
    }


def _by_minute(
    transaction: Transaction, since: datetime, batch: str | None
) -> dict[datetime, tuple[int, int]]:
    """Jobs that succeeded, and that ended in another way, by the minute in which they did."""
    done = (
        select(
            ChunkMinute.minute,
            func.sum(ChunkMinute.succeeded).label("succeeded"),
            func.sum(ChunkMinute.other).label("other"),
        )
        .where(ChunkMinute.minute >= since)
        .group_by(ChunkMinute.minute)
    )
    released = select(Chunk.id, JOBS).where(Chunk.state == ChunkState.RELEASED.value)
    if batch is not None:
        of_batch = select(Chunk.id).where(Chunk.batch_id == batch)
        done = done.where(ChunkMinute.chunk_id.in_(of_batch))
        released = released.where(Chunk.batch_id == batch)
    chunks, _ = chunks_that_fit(transaction, released, LIVE_JOBS)
    rows = transaction.rows(done)
    if chunks:
        rows += transaction.rows(_live(transaction, chunks, since))
    found: dict[datetime, tuple[int, int]] = {}
    for row in rows:
        good, bad = found.get(row.minute, (0, 0))
        found[row.minute] = (good + int(row.succeeded), bad + int(row.other))
    return found


def _live(
    transaction: Transaction, chunks: Sequence[int], since: datetime
) -> Select[tuple[datetime, int, int]]:
    minute = minute_of(transaction)
    return (
        select(minute, *minute_sums())
        .where(Job.chunk_id.in_(chunks), Job.completed_at >= since, ended_by_itself())
        .group_by(minute.element)
    )
