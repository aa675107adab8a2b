"""Queries about batches: status, open work, speed and how long jobs took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, func, not_, or_, select

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.redaction import shown_source
from ittybatch.ledger.counters import COLUMNS
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.models import Attempt, Batch, Chunk, Job, Run
from ittybatch.ledger.states import (
    AttemptState,
    BatchState,
    ChunkState,
    JobState,
    RunState,
)

_NEWEST = 2000
_NEWEST_CHUNKS = 8


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
    sent: int = 0
    closed_until: datetime | None = None
    accepts_until: datetime | None = None

    @property
    def open_jobs(self) -> int:
        """Jobs that have not ended."""
        return self.counts["planned"] + self.counts["in_flight"]


# An ended scan that found nothing to do. A queue is drained each minute: in a list, its idle
# batches would hide the batches that did something.
IDLE = and_(
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
    ids = transaction.rows(query if idle else query.where(not_(IDLE)))
    return batch_statuses(transaction, [row.id for row in ids])


def idle_batches(transaction: Transaction) -> int:
    """The number of scans that found nothing to do."""
    query = select(func.count()).select_from(Batch).where(IDLE)
    return int(transaction.execute(query).scalar_one())


def find_batch(transaction: Transaction, text: str) -> str:
    """Find the batch that `text` names: an id, its beginning or end, or `latest`.

    `latest` is the newest batch that did something; the newest of all if none did.

    Raises:
        AmbiguousBatch: when the text fits no batch, or several.
    """
    query = select(Batch.id).order_by(Batch.created_at.desc())
    if text == "latest":
        query = select(Batch.id).order_by(case((IDLE, 1), else_=0), Batch.created_at.desc())
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
    [found] = batch_statuses(transaction, [batch])
    return found


def batch_statuses(transaction: Transaction, batches: Sequence[str]) -> list[BatchStatus]:
    """Batches in numbers, in the order given, with a few statements for all of them.

    Raises:
        KeyError: when one of them does not exist.
    """
    rows = {
        row.id: row
        for row in transaction.rows(
            select(*Batch.__table__.columns).where(Batch.id.in_(set(batches)))
        )
    }
    names = (*COLUMNS, "items", "sent", "retried")
    chunks = {
        row.batch_id: row
        for row in transaction.rows(
            select(
                Chunk.batch_id,
                func.count().label("all"),
                func.count().filter(Chunk.state == ChunkState.DONE.value).label("done"),
                *(func.sum(getattr(Chunk, name)).label(name) for name in names),
            )
            .where(Chunk.batch_id.in_(set(batches)))
            .group_by(Chunk.batch_id)
        )
    }
    owners = {batch_owner(batch): batch for batch in batches}
    runs = {
        owners[row.owner]: row.flow_run_id
        for row in transaction.rows(
            select(Run.owner, Run.flow_run_id).where(Run.owner.in_(list(owners)))
        )
    }
    return [_status(rows[each], chunks.get(each), runs.get(each)) for each in batches]


def _status(row: Any, chunks: Any, flow_run: str | None) -> BatchStatus:  # noqa: ANN401  rows
    def total(name: str) -> int:
        return int(getattr(chunks, name)) if chunks is not None else 0

    states = {name: total(name) for name in COLUMNS}
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
        flow_run_id=flow_run,
        counts={
            "items": total("items"),
            "jobs": sum(states.values()),
            **states,
            "skipped": int(row.counts.get("skipped", 0)),
        },
        plan=dict(row.counts),
        chunks=total("all"),
        chunks_done=total("done"),
        retried=total("retried"),
        waits_for_room=row.wants_room and row.state == BatchState.RUNNING,
        tidied_at=row.tidied_at,
        sent=total("sent"),
        closed_until=row.closed_until,
        accepts_until=row.accepts_until,
    )


def open_work(transaction: Transaction) -> tuple[dict[str, int], int]:
    """Jobs of unfinished chunks by state, and the number of waiting flow runs."""
    row = transaction.execute(
        select(
            *(func.coalesce(func.sum(getattr(Chunk, name)), 0).label(name) for name in COLUMNS)
        ).where(Chunk.state.in_([ChunkState.PLANNED.value, ChunkState.RELEASED.value]))
    ).one()
    waiting = transaction.execute(
        select(func.count()).where(Run.state == RunState.WAITING.value)
    ).scalar_one()
    return {name: int(getattr(row, name)) for name in COLUMNS}, int(waiting)


def batch_of_run(transaction: Transaction, flow_run: str) -> str | None:
    """The batch that a flow run works for."""
    rows = transaction.rows(select(Run.batch_id).where(Run.flow_run_id == flow_run))
    return rows[0].batch_id if rows else None


@dataclass(frozen=True, slots=True)
class PastDurations:
    """How long jobs of a kind took, from submission to end.

    Args:
        jobs: The number of jobs measured.
        mean_s: Their mean duration in seconds.
    """

    jobs: int
    mean_s: float


def past_durations(transaction: Transaction) -> Mapping[str, PastDurations]:
    """How long the successful jobs of the newest chunks took, by kind."""
    chunks = transaction.rows(
        select(Chunk.id).where(Chunk.succeeded > 0).order_by(Chunk.id.desc()).limit(_NEWEST_CHUNKS)
    )
    newest = (
        select(Job.id, Job.kind)
        .where(Job.chunk_id.in_([row.id for row in chunks]), Job.state == JobState.SUCCEEDED.value)
        .order_by(Job.id.desc())
        # Limit before the join, so that attempts are looked up and not scanned.
        .limit(_NEWEST)
        .subquery("newest")
    )
    rows = transaction.rows(
        select(newest.c.kind, Attempt.sent_at, Attempt.completed_at)
        .join(newest, newest.c.id == Attempt.job_id)
        .where(Attempt.completed_at.is_not(None), Attempt.state == AttemptState.SUCCEEDED.value)
    )
    taken: dict[str, list[float]] = {}
    for row in rows:
        took_s = (row.completed_at - row.sent_at).total_seconds()
        taken.setdefault(row.kind, []).append(max(0.0, took_s))
    return {kind: PastDurations(len(each), sum(each) / len(each)) for kind, each in taken.items()}


def ended_per_minute(transaction: Transaction, batch: str, over_s: float = 600) -> float | None:
    """Attempts of a batch that ended per minute recently; None if no attempt ended.

    Args:
        transaction: The transaction to look in.
        batch: The batch.
        over_s: Seconds to look back at most.
    """
    since = transaction.now - timedelta(seconds=over_s)
    row = transaction.execute(
        select(func.count().label("ended"), func.min(Attempt.completed_at).label("first"))
        .join(Job, Job.id == Attempt.job_id)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(
            Chunk.batch_id == batch,
            or_(Chunk.state == ChunkState.RELEASED.value, Chunk.ended_at >= since),
            Attempt.completed_at >= since,
        )
    ).one()
    if not row.ended:
        return None
    # Divide by the time since the first end: the batch may have begun less than `over_s` ago.
    minutes = max((transaction.now - row.first).total_seconds(), 1.0) / 60
    return float(row.ended / minutes)
