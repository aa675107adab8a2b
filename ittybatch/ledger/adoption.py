"""Adoption: jobs that another ledger submitted are recorded as jobs of this ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import and_, case, func, select, update

from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ittybit.marks import Mark
from ittybatch.ledger import identity
from ittybatch.ledger.counters import Moves
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Attempt, Chunk, Item, Job, Run
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import AttemptState, JobState, RunState
from ittybatch.ledger.submission import Accepted, record_accepted

_UNSENT = [JobState.PLANNED.value, JobState.SUBMITTING.value]
# Requests of a process that has claimed a job end within this time, repeats included.
_SENT_WITHIN = timedelta(minutes=5)
# A job that waits for a retry has the id of its last attempt.
_NOT_ACCEPTED = (Job.state.in_(_UNSENT), Job.task_id.is_(None))


@dataclass(frozen=True, slots=True)
class UnsentJob:
    """A job of this ledger without a known job at Ittybit.

    `mark` is the mark of its attempt if one may have been sent without a recorded response.
    """

    id: int
    job_key: str
    input: str
    mark: Mark | None


@dataclass(frozen=True, slots=True)
class Adopted:
    """A job of this ledger, and the job at Ittybit that is recorded for it.

    Args:
        job: The job's row.
        attempt: The number of the attempt in the other ledger.
        remote: The job as Ittybit reports it.
    """

    job: int
    attempt: int
    remote: RemoteJob


def unknown_tasks(transaction: Transaction, tasks: Mapping[str, Mark]) -> set[str]:
    """Find the jobs at Ittybit that are not recorded here: another ledger made them.

    Args:
        transaction: The transaction to look in.
        tasks: The marks of the jobs, by Ittybit's id. An adopted job keeps the other ledger's mark.
    """
    ids = select(Attempt.task_id).where(Attempt.task_id.in_(tasks))
    adopted = {row.task_id for row in transaction.rows(ids)}
    return {
        task
        for task, mark in tasks.items()
        if task not in adopted and not _known(transaction, mark)
    }


def sample_unsent(transaction: Transaction, chunk: int, size: int) -> list[UnsentJob]:
    """Choose at most `size` jobs that Ittybit has not accepted, spread evenly over a chunk.

    Jobs that were sent or adopted say nothing about the others: an adoption may have been
    interrupted.
    """
    rows = transaction.rows(
        select(Job.id).where(Job.chunk_id == chunk, *_NOT_ACCEPTED).order_by(Job.id)
    )
    if not rows:
        return []
    last = len(rows) - 1
    positions = {round(last * number / max(1, size - 1)) for number in range(size)}
    return _unsent(transaction, [rows[position].id for position in sorted(positions)])


def unsent_jobs(
    transaction: Transaction, batch: str, *, after: int = 0, limit: int = 200
) -> list[UnsentJob]:
    """A batch's jobs that Ittybit has not accepted, with ids larger than `after`."""
    rows = transaction.rows(
        select(Job.id)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(Chunk.batch_id == batch, *_NOT_ACCEPTED, Job.id > after)
        .order_by(Job.id)
        .limit(limit)
    )
    return _unsent(transaction, [row.id for row in rows])


def adopt_jobs(
    transaction: Transaction, found: Sequence[Adopted], *, lease_s: float
) -> list[JobState]:
    """Record jobs at Ittybit for unsent jobs, and settle those that have ended.

    A job that was accepted or cancelled in the meantime is skipped, and so is one whose request may
    be under way: its response would be lost, and its job paid for nothing.

    Args:
        transaction: The transaction to do it in.
        found: The jobs.
        lease_s: Seconds without a heartbeat after which a leg counts as dead.

    Returns:
        The states of the adopted jobs.
    """
    wanted = {each.job: each for each in found}
    known = transaction.rows(
        select(
            Job.id,
            Job.chunk_id,
            Job.state,
            Job.attempt,
            Job.job_key,
            Job.deadline_s,
            Job.deadline_at,
            Job.task_id,
        )
        .where(Job.id.in_(wanted))
        .order_by(Job.id)
        .with_for_update()
    )
    unsent = [row for row in known if row.task_id is None and row.state in _UNSENT]
    under_way = _under_way(transaction, unsent, lease_s)
    rows = [row for row in unsent if row.id not in under_way]
    # Recorded by a try whose COMMIT was not answered.
    before = [row.id for row in known if row.task_id == wanted[row.id].remote.id]
    moves = Moves()
    for row in rows:
        each = wanted[row.id]
        sent_before = row.state == JobState.SUBMITTING.value
        # Attempt numbers never decrease: a used Idempotency-Key must not be used again.
        number = max(each.attempt, row.attempt if sent_before else row.attempt + 1)
        _record_attempt(transaction, row.id, row.job_key, number, each.remote)
        skipped = number - row.attempt - (0 if sent_before else 1)
        transaction.execute(
            update(Job)
            .where(Job.id == row.id)
            .values(
                state=JobState.SUBMITTING.value,
                attempt=number,
                # The other ledger's attempts do not count against the allowed attempts.
                last_attempt=Job.last_attempt + skipped,
                not_before=None,
                polled_at=None,
                deadline_at=transaction.now + timedelta(seconds=row.deadline_s),
                error_kind=None,
                error_message=None,
                failed_late=0,
            )
        )
        moves.add(row.chunk_id, JobState(row.state), JobState.SUBMITTING)
        wanted[row.id] = Adopted(row.id, number, each.remote)
    moves.apply(transaction)
    adopted = [wanted[row.id] for row in rows]
    record_accepted(
        transaction, [Accepted(each.job, each.attempt, each.remote.id) for each in adopted]
    )
    _set_submitted_at(transaction, adopted)
    settle(transaction, [each.remote for each in adopted])
    _set_completed_at(transaction, adopted)
    ids = [*before, *(each.job for each in adopted)]
    states = transaction.rows(select(Job.state).where(Job.id.in_(ids)).order_by(Job.id))
    return [JobState(row.state) for row in states]


def _under_way(transaction: Transaction, rows: Sequence[Any], lease_s: float) -> set[int]:
    """Find the jobs whose requests may be under way. No leg of their chunks begins meanwhile."""
    claimed = [row for row in rows if row.state == JobState.SUBMITTING]
    chunks = sorted({row.chunk_id for row in claimed})
    transaction.rows(
        select(Chunk.id).where(Chunk.id.in_(chunks)).order_by(Chunk.id).with_for_update()
    )
    runs = transaction.rows(
        select(Run.owner, Run.state, Run.heartbeat_at)
        .where(Run.owner.in_([identity.chunk_owner(chunk) for chunk in chunks]))
        .order_by(Run.owner)
        .with_for_update()
    )
    alive_since = transaction.now - timedelta(seconds=lease_s)
    sending = {
        row.owner for row in runs if row.state == RunState.AWAKE and row.heartbeat_at > alive_since
    }
    return {
        row.id
        for row in claimed
        if identity.chunk_owner(row.chunk_id) in sending
        # Receivers send without a leg.
        or row.deadline_at - timedelta(seconds=row.deadline_s) > transaction.now - _SENT_WITHIN
    }


def _record_attempt(
    transaction: Transaction, job: int, job_key: str, number: int, remote: RemoteJob
) -> None:
    transaction.execute(
        transaction.insert_new(Attempt).values(
            job_id=job,
            number=number,
            idempotency_key=identity.idempotency_key(job_key, number),
            state=AttemptState.SENDING.value,
            sent_at=remote.created_at or transaction.now,
        )
    )


def _set_submitted_at(transaction: Transaction, adopted: Sequence[Adopted]) -> None:
    for each in adopted:
        if each.remote.created_at is not None:
            transaction.execute(
                update(Job)
                .where(Job.id == each.job, Job.state == JobState.SUBMITTED.value)
                .values(submitted_at=each.remote.created_at)
            )


def _set_completed_at(transaction: Transaction, adopted: Sequence[Adopted]) -> None:
    """Set the end times that Ittybit reports: durations are estimated from them."""
    for each in adopted:
        at = each.remote.finished_at
        if at is not None:
            transaction.execute(
                update(Attempt)
                .where(
                    Attempt.job_id == each.job,
                    Attempt.number == each.attempt,
                    Attempt.completed_at.is_not(None),
                )
                .values(completed_at=case((Attempt.sent_at > at, Attempt.sent_at), else_=at))
            )


def _known(transaction: Transaction, mark: Mark) -> bool:
    found = transaction.execute(
        select(func.count())
        .select_from(Attempt)
        .join(Job, Job.id == Attempt.job_id)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(
            Job.job_key == mark.job_key,
            Attempt.number == mark.attempt,
            Chunk.batch_id == mark.batch_id,
        )
    )
    return bool(found.scalar_one())


def _unsent(transaction: Transaction, jobs: Sequence[int]) -> list[UnsentJob]:
    rows = transaction.rows(
        select(Job.id, Job.job_key, Job.state, Job.attempt, Item.uri, Chunk.batch_id)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(Job.id.in_(jobs))
        .order_by(Job.id)
    )
    return [
        UnsentJob(
            row.id,
            row.job_key,
            row.uri,
            Mark(row.batch_id, row.job_key, row.attempt)
            if row.state == JobState.SUBMITTING
            else None,
        )
        for row in rows
    ]
