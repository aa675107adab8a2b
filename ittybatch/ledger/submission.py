"""Submitting: a job is claimed with its Idempotency-Key before it is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import (
    and_,
    or_,
    select,
    update,
)

from ittybatch.ledger import identity
from ittybatch.ledger.brakes import hold_at_ceiling, submissions_left
from ittybatch.ledger.counters import Moves, attempts_of
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Attempt, Batch, Chunk, Delivery, Item, Job
from ittybatch.ledger.outbox import note_accepted, note_ended
from ittybatch.ledger.states import AttemptState, BatchState, JobState, Verdict
from ittybatch.ledger.submission_statements import (
    ACCEPT_ATTEMPT,
    ACCEPT_JOB,
    BEGIN_ATTEMPT,
    CLAIM,
    POSTPONE,
    RETURN,
)

_SOON_S = 5.0


@dataclass(frozen=True, slots=True)
class Submission:
    """One attempt, committed and to be sent."""

    job_id: int
    attempt: int
    idempotency_key: str
    first_sent_at: datetime
    batch_id: str
    job_key: str
    item_number: int
    rendition: str
    input: str
    kind: str
    options: Mapping[str, Any]
    destination: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Accepted:
    """Ittybit accepted a submission, under this id."""

    job_id: int
    attempt: int
    task_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Ittybit refused a submission permanently."""

    job_id: int
    attempt: int
    error_kind: str | None
    error_message: str


def claim_due(transaction: Transaction, chunk: int, limit: int) -> list[Submission]:
    """Claim planned jobs of a chunk that are due, each for its next attempt.

    Retries that are due within seconds are included: another leg would cost more than waiting
    saves. Nothing is claimed for a batch that is held or has ended. A batch at its ceiling is
    held only if a job is due.
    """
    batch = transaction.execute(
        select(Batch.id, Batch.options)
        .join(Chunk, Chunk.batch_id == Batch.id)
        .where(Chunk.id == chunk)
    ).one()
    left = submissions_left(transaction, batch.id, batch.options)
    soon = transaction.now + timedelta(seconds=_SOON_S)
    due = (
        Job.chunk_id == chunk,
        Job.state == JobState.PLANNED.value,
        or_(Job.not_before.is_(None), Job.not_before <= soon),
    )
    if left == 0:
        if transaction.rows(select(Job.id).where(*due).limit(1)):
            hold_at_ceiling(transaction, batch.id, batch.options)
        return []
    rows = transaction.rows(
        _submissions()
        .where(*due, Batch.state == BatchState.RUNNING.value)
        .order_by(Job.id)
        .limit(limit if left is None else min(limit, left))
        .with_for_update(of=Job, skip_locked=True)
    )
    if not rows:
        return []
    now = transaction.now
    claimed = [_submission(row, row.attempt + 1, now) for row in rows]
    begin_attempts(transaction, claimed)
    CLAIM.run(
        transaction,
        [{"job": row.id, "deadline": now + timedelta(seconds=row.deadline_s)} for row in rows],
    )
    moves = Moves()
    for row in rows:
        moves.add(row.chunk_id, JobState.PLANNED, JobState.SUBMITTING)
        moves.count_sent(row.chunk_id, row.made + 1)
    moves.apply(transaction)
    return claimed


def begin_attempts(transaction: Transaction, claimed: Sequence[Submission]) -> None:
    """Insert the attempts of claimed jobs: a key is in the ledger before it is sent."""
    # The number of an attempt that was withdrawn before it was sent is reused, with its key.
    BEGIN_ATTEMPT.run(
        transaction,
        [
            {"job": each.job_id, "number": each.attempt, "key": each.idempotency_key}
            for each in claimed
        ],
        now=transaction.now,
    )


def unanswered(transaction: Transaction, chunk: int) -> list[Submission]:
    """Submissions without a recorded response; they are sent again with the same key."""
    rows = transaction.rows(
        _submissions()
        .add_columns(Attempt.sent_at, Attempt.idempotency_key)
        .join(Attempt, and_(Attempt.job_id == Job.id, Attempt.number == Job.attempt))
        .where(
            Job.chunk_id == chunk,
            Job.state == JobState.SUBMITTING.value,
            or_(Job.not_before.is_(None), Job.not_before <= transaction.now),
        )
        .order_by(Job.id)
    )
    # The stored key, not a derived one: a migration may have changed the form of the job's key.
    return [
        replace(_submission(row, row.attempt, row.sent_at), idempotency_key=row.idempotency_key)
        for row in rows
    ]


def record_accepted(transaction: Transaction, answers: Sequence[Accepted]) -> list[bytes]:
    """Record that Ittybit has these jobs.

    Returns:
        Bodies of earlier webhooks for these jobs that could not be matched when they arrived:
        the caller settles them.
    """
    if not answers:
        return []
    rows = [{"job": each.job_id, "number": each.attempt, "task": each.task_id} for each in answers]
    if transaction.postgres:
        # In the order in which webhooks lock them: another receiver may be settling some of these.
        ids = sorted(each.job_id for each in answers)
        these = transaction.is_one_of(Job.id, ids)
        transaction.rows(select(Job.id).where(these).order_by(Job.id).with_for_update())
    ACCEPT_ATTEMPT.run(transaction, rows)
    ACCEPT_JOB.run(transaction, rows, now=transaction.now)
    note_accepted(transaction, [(each.job_id, each.attempt) for each in answers])
    return _early_webhooks(transaction, [each.task_id for each in answers])


def record_refused(transaction: Transaction, answers: Sequence[Refused]) -> None:
    """Record permanent refusals. The jobs stay claimed, so they are held back."""
    moves = Moves()
    ended: list[int] = []
    for each in sorted(answers, key=lambda answer: answer.job_id):
        row = _lock_submitting(transaction, each.job_id, each.attempt)
        if row is None:
            continue
        error = {"error_kind": each.error_kind, "error_message": each.error_message}
        transaction.execute(
            update(Job)
            .where(Job.id == each.job_id)
            .values(
                state=JobState.FAILED.value,
                not_before=None,
                completed_at=transaction.now,
                **error,
            )
        )
        transaction.execute(
            update(Attempt)
            .where(Attempt.job_id == each.job_id, Attempt.number == each.attempt)
            .values(state=AttemptState.REFUSED.value, completed_at=transaction.now, **error)
        )
        moves.add(row.chunk_id, JobState.SUBMITTING, JobState.FAILED)
        ended.append(each.job_id)
    moves.apply(transaction)
    note_ended(transaction, ended)


def return_unsent(
    transaction: Transaction, jobs: Sequence[tuple[int, int]], wait_s: float
) -> list[int]:
    """Set claimed (job, attempt) pairs back to planned: they never became jobs at Ittybit.

    Returns:
        The chunks of these jobs.
    """
    if not jobs:
        return []
    attempts = dict(jobs)
    locked = transaction.rows(
        select(Job.id, Job.chunk_id, Job.attempt, attempts_of(Job).label("made"))
        .where(Job.id.in_(attempts), Job.state == JobState.SUBMITTING.value)
        .order_by(Job.id)
        .with_for_update()
    )
    rows = [row for row in locked if row.attempt == attempts[row.id]]
    not_before = transaction.now + timedelta(seconds=wait_s) if wait_s else None
    RETURN.run(transaction, [{"job": row.id, "until": not_before} for row in rows])
    moves = Moves()
    for row in rows:
        moves.add(row.chunk_id, JobState.SUBMITTING, JobState.PLANNED)
        moves.count_sent(row.chunk_id, row.made, -1)
    moves.apply(transaction)
    return moves.chunks


def postpone_unanswered(
    transaction: Transaction, jobs: Sequence[tuple[int, int]], wait_s: float
) -> None:
    """Delay submissions with an unknown outcome before they are sent again."""
    if not jobs:
        return
    not_before = transaction.now + timedelta(seconds=wait_s)
    transaction.execute(
        POSTPONE,
        [{"job": job, "attempt_number": attempt, "until": not_before} for job, attempt in jobs],
    )


def _submissions() -> Any:  # noqa: ANN401  a Select of many columns
    # Not a join: on tables that Postgres has not analysed yet, its plan read all items of the chunk
    # for each job.
    uri = (
        select(Item.uri)
        .where(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number)
        .correlate(Job)
        .scalar_subquery()
    )
    return (
        select(
            Job.id,
            Job.chunk_id,
            Job.attempt,
            attempts_of(Job).label("made"),
            Job.job_key,
            Job.item_number,
            Job.rendition,
            Job.kind,
            Job.options,
            Job.destination,
            Job.user_metadata,
            Job.deadline_s,
            uri.label("uri"),
            Chunk.batch_id,
        )
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Batch, Batch.id == Chunk.batch_id)
    )


def _submission(row: Any, attempt: int, sent_at: datetime) -> Submission:  # noqa: ANN401
    return Submission(
        job_id=row.id,
        attempt=attempt,
        idempotency_key=identity.idempotency_key(row.job_key, attempt),
        first_sent_at=sent_at,
        batch_id=row.batch_id,
        job_key=row.job_key,
        item_number=row.item_number,
        rendition=row.rendition,
        input=row.uri,
        kind=row.kind,
        options=orjson.loads(row.options),
        destination=row.destination,
        metadata=orjson.loads(row.user_metadata),
    )


def _lock_submitting(transaction: Transaction, job: int, attempt: int) -> Any:  # noqa: ANN401
    return transaction.execute(
        select(Job.chunk_id)
        .where(Job.id == job, Job.attempt == attempt, Job.state == JobState.SUBMITTING.value)
        .with_for_update()
    ).one_or_none()


def _early_webhooks(transaction: Transaction, tasks: Sequence[str]) -> list[bytes]:
    rows = transaction.rows(
        select(Delivery.body)
        .where(
            transaction.is_one_of(Delivery.task_id, tasks),
            Delivery.verdict == Verdict.UNKNOWN.value,
        )
        .order_by(Delivery.received_at)
    )
    return [row.body for row in rows]
