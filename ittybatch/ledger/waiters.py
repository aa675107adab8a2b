"""Waiters: flow runs of users that are suspended until a batch or a job has ended."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Job, Waiter
from ittybatch.ledger.states import ENDED_BATCHES, OPEN_JOBS

_ENDED = [state.value for state in ENDED_BATCHES]
_OPEN = [state.value for state in OPEN_JOBS]
# A worker needs seconds to start the process that takes the result.
_CALL_AGAIN_AFTER = timedelta(seconds=15)
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Target:
    """What a flow run waits for: one of the three.

    Args:
        batch: A batch's id.
        job: A job's id in the ledger.
        batch_run: The flow run that begins the batch, while it has not begun it yet.
    """

    batch: str | None = None
    job: int | None = None
    batch_run: str | None = None

    @property
    def text(self) -> str:
        """The target as one text."""
        if self.job is not None:
            return f"job:{self.job}"
        return f"batch:{self.batch}" if self.batch else f"run:{self.batch_run}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A flow run that waits.

    Args:
        flow_run_id: The flow run.
        target: What it waits for, as one text.
        batch_run: The flow run whose batch has not begun yet; None if the target is known.
    """

    flow_run_id: str
    target: str
    batch_run: str | None


def begin_waiting(transaction: Transaction, flow_run: str, target: Target) -> int:
    """Record that a flow run waits, before it suspends itself.

    Returns:
        The number of this wait, which makes the key of its suspension.
    """
    # A flow waits for one thing at a time. What it waited for before would wake it again and again.
    transaction.execute(
        update(Waiter)
        .where(
            Waiter.flow_run_id == flow_run,
            Waiter.target != target.text,
            Waiter.ended_at.is_(None),
        )
        .values(ended_at=transaction.now)
    )
    ours = (Waiter.flow_run_id == flow_run) & (Waiter.target == target.text)
    changed = transaction.execute(
        update(Waiter)
        .where(ours)
        .values(waits=Waiter.waits + 1, called_at=None, ended_at=None)
        .returning(Waiter.waits)
    ).scalar_one_or_none()
    if changed is not None:
        return int(changed)
    transaction.execute(
        transaction.insert_new(Waiter).values(
            flow_run_id=flow_run,
            target=target.text,
            batch_id=target.batch,
            job_id=target.job,
            batch_run=None if target.batch else target.batch_run,
            since=transaction.now,
            waits=1,
        )
    )
    return 1


def finish_waiting(transaction: Transaction, flow_run: str) -> None:
    """Record that a flow run has gone on; one that never waited is ignored."""
    transaction.execute(
        update(Waiter)
        .where(Waiter.flow_run_id == flow_run, Waiter.ended_at.is_(None))
        .values(ended_at=transaction.now)
    )


def waiters_without_batch(transaction: Transaction) -> list[Waiting]:
    """The flow runs that wait for a batch that has not begun, after looking for it once more."""
    found = select(Batch.id).where(Batch.begun_by == Waiter.batch_run).limit(1)
    transaction.execute(
        update(Waiter)
        .where(
            Waiter.ended_at.is_(None),
            Waiter.batch_run.is_not(None),
            exists().where(Batch.begun_by == Waiter.batch_run),
        )
        .values(batch_id=found.scalar_subquery(), batch_run=None)
    )
    return _waiting(transaction, Waiter.batch_run.is_not(None))


def batch_begun_by(transaction: Transaction, batch_run: str) -> str | None:
    """The batch that a flow run has begun, also if another flow run works for it since."""
    rows = transaction.rows(select(Batch.id).where(Batch.begun_by == batch_run).limit(1))
    return str(rows[0].id) if rows else None


def batch_has_ended(transaction: Transaction, batch: str) -> bool:
    """Whether a batch has ended and nothing of it is at Ittybit any more."""
    query = select(Batch.id).where(
        Batch.id == batch, Batch.state.in_(_ENDED), ~_open_work(Batch.id)
    )
    return bool(transaction.rows(query))


def anybody_waits(transaction: Transaction) -> bool:
    """Whether any flow run waits: usually none does."""
    rows = transaction.rows(select(Waiter.flow_run_id).where(Waiter.ended_at.is_(None)).limit(1))
    return bool(rows)


def due_waiters(transaction: Transaction) -> list[Waiting]:
    """The flow runs whose batch or job has ended, and that were not resumed a moment ago."""
    batch_ended = and_(
        exists().where(Batch.id == Waiter.batch_id, Batch.state.in_(_ENDED)),
        ~_open_work(Waiter.batch_id),
    )
    job_ended = exists().where(Job.id == Waiter.job_id, Job.state.not_in(_OPEN))
    return _waiting(transaction, or_(batch_ended, job_ended))


def note_resumed(transaction: Transaction, waiting: list[Waiting]) -> None:
    """Record that these flow runs were resumed; they are resumed again if they do not go on."""
    for each in waiting:
        transaction.execute(
            update(Waiter)
            .where(Waiter.flow_run_id == each.flow_run_id, Waiter.target == each.target)
            .values(called_at=transaction.now)
        )


def forget_waiter(transaction: Transaction, waiting: Waiting) -> None:
    """Stop resuming a flow run that Prefect has ended or does not know."""
    transaction.execute(
        update(Waiter)
        .where(Waiter.flow_run_id == waiting.flow_run_id, Waiter.target == waiting.target)
        .values(ended_at=transaction.now)
    )


def remove_ended_waiters(transaction: Transaction, before: datetime) -> int:
    """Remove the records of flow runs that went on before a time.

    Returns:
        How many.
    """
    return transaction.execute(delete(Waiter).where(Waiter.ended_at < before)).rowcount


def _open_work(batch: ColumnElement[str] | InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    return exists().where(Chunk.batch_id == batch, Chunk.in_flight > 0)


def _waiting(transaction: Transaction, *wanted: ColumnElement[bool]) -> list[Waiting]:
    quiet_since = transaction.now - _CALL_AGAIN_AFTER
    rows = transaction.rows(
        select(Waiter.flow_run_id, Waiter.target, Waiter.batch_run)
        .where(
            Waiter.ended_at.is_(None),
            *wanted,
            or_(Waiter.called_at.is_(None), Waiter.called_at <= quiet_since),
        )
        .order_by(Waiter.since)
        .limit(_AT_ONCE)
    )
    return [Waiting(row.flow_run_id, row.target, row.batch_run) for row in rows]
