"""Settlement: the outcome of a job, from a webhook or a poll, is applied once.

A terminal state is final, with one exception: a job that we gave up as expired or refused, or
cancelled as unsent, and that succeeds later counts as succeeded, because it is paid for.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import select, update

from ittybatch.ittybit.failures import classify_failure
from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ittybit.job import JobStatus
from ittybatch.ledger import runs
from ittybatch.ledger.batches import end_better
from ittybatch.ledger.counters import Moves
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.first_frame import take_first_frame
from ittybatch.ledger.lending import reclaim
from ittybatch.ledger.matching import MatchedAttempt, match_attempts
from ittybatch.ledger.models import Attempt, Job
from ittybatch.ledger.outbox import note_ended
from ittybatch.ledger.outcomes import (
    END_ATTEMPT,
    FAIL,
    RETRY,
    SET_TASK_ID,
    SUCCEED,
    TAKE_BACK,
)
from ittybatch.ledger.states import AttemptState, JobState, Verdict

_ENDED_AS = {
    JobStatus.SUCCEEDED: AttemptState.SUCCEEDED,
    JobStatus.FAILED: AttemptState.FAILED,
    JobStatus.CANCELLED: AttemptState.CANCELLED,
}
# The state of a job whose attempt was given up: expired or refused.
_GIVEN_UP = {JobState.EXPIRED, JobState.FAILED}
_MAX_BACKOFF_S = 3600.0
_MAX_TEXT_CHARS = 2000


def settle(
    transaction: Transaction, jobs: Sequence[RemoteJob], *, in_inbox: bool = False
) -> list[Verdict]:
    """Apply the outcomes of some jobs, in the order given.

    `match_attempts` finds the jobs.

    Args:
        transaction: The transaction to do it in.
        jobs: The jobs as Ittybit reports them.
        in_inbox: Whether the inbox keeps these reports; otherwise the jobs keep them.

    Returns:
        The effect of each, in the same order.
    """
    rows = match_attempts(transaction, jobs)
    changes = _Changes(transaction, in_inbox=in_inbox)
    verdicts = [changes.apply(job, rows.get(job.id)) for job in jobs]
    changes.write()
    return verdicts


def expire(transaction: Transaction, job: int, problem: str | None = None) -> bool:
    """Expire a job whose deadline has passed. It may still run, and be billed.

    Args:
        transaction: The transaction to do it in.
        job: The job.
        problem: Why polling it failed, if it did.

    Returns:
        Whether it was in flight and overdue.
    """
    row = transaction.execute(
        select(Job.chunk_id, Job.attempt, Job.state, Job.deadline_s)
        .where(
            Job.id == job,
            Job.state.in_([JobState.SUBMITTING.value, JobState.SUBMITTED.value]),
            Job.deadline_at <= transaction.now,
        )
        .with_for_update()
    ).one_or_none()
    if row is None:
        return False
    error = {
        "error_kind": "deadline_passed",
        "error_message": _short(
            f"Ittybit reported no end within {row.deadline_s:g} s. It may still run the job, and "
            f"bill it.{f' The last poll failed: {problem}' if problem else ''}"
        ),
    }
    transaction.execute(
        update(Job)
        .where(Job.id == job)
        .values(
            state=JobState.EXPIRED.value,
            not_before=None,
            completed_at=transaction.now,
            **error,
        )
    )
    transaction.execute(
        update(Attempt)
        .where(Attempt.job_id == job, Attempt.number == row.attempt)
        .values(state=AttemptState.EXPIRED.value, completed_at=transaction.now, **error)
    )
    moves = Moves()
    moves.add(row.chunk_id, JobState(row.state), JobState.EXPIRED)
    moves.apply(transaction)
    note_ended(transaction, [job])
    runs.wake_settled(transaction, moves.chunks)
    return True


class _Changes:
    """Collects the changes of a group of outcomes; writes each kind with one statement."""

    def __init__(self, transaction: Transaction, *, in_inbox: bool) -> None:
        self._transaction = transaction
        self._in_inbox = in_inbox
        self._taken_back: list[dict[str, Any]] = []
        self._task_ids: list[dict[str, Any]] = []
        self._attempts: list[dict[str, Any]] = []
        self._successes: list[dict[str, Any]] = []
        self._failures: list[dict[str, Any]] = []
        self._retries: list[dict[str, Any]] = []
        self._moves = Moves()
        self._retry_at: dict[int, datetime] = {}
        self._revived: set[str] = set()
        self._unclaimed: list[int] = []

    def apply(self, job: RemoteJob, row: MatchedAttempt | None) -> Verdict:
        """Decide what one outcome changes."""
        if row is None:
            return Verdict.UNKNOWN
        if not job.status.terminal:
            return Verdict.PROGRESS
        ended_as = _ENDED_AS[job.status]
        if row.attempt_state is ended_as:
            return Verdict.DUPLICATE
        late_success = row.given_up and ended_as is AttemptState.SUCCEEDED
        if row.attempt_state.ended and not late_success:
            return Verdict.LATE
        self._end_attempt(job, row, ended_as)
        returned = row.returned
        if returned:
            # Also if its job stays cancelled: the next batch's attempt needs another key.
            self._take_back(row)
            returned = not row.cancelled_unsent or ended_as is AttemptState.SUCCEEDED
        current = row.number == row.attempt
        if current and (
            returned or row.state.in_flight or (late_success and row.state in _GIVEN_UP)
        ):
            self._end_job(job, row)
            return Verdict.APPLIED
        return Verdict.LATE

    def _take_back(self, row: MatchedAttempt) -> None:
        """Count a returned attempt as sent. Otherwise the job would be sent again for nothing."""
        row.attempt = row.number
        self._taken_back.append({"job": row.id, "number": row.number})
        self._moves.count_sent(row.chunk_id, row.number - (row.last_attempt - row.attempts))

    def _end_attempt(self, job: RemoteJob, row: MatchedAttempt, ended_as: AttemptState) -> None:
        row.attempt_state = ended_as
        if row.task_id is None:
            row.task_id = job.id
            self._task_ids.append({"job": row.id, "number": row.number, "task": job.id})
        self._attempts.append(
            {
                "job": row.id,
                "number": row.number,
                "state": ended_as.value,
                "reason_kind": _short(job.error.kind if job.error else None, 100),
                "reason": _short(job.error.message if job.error else None),
            }
        )

    def _end_job(self, job: RemoteJob, row: MatchedAttempt) -> None:
        old = row.state
        if job.status is JobStatus.SUCCEEDED:
            if row.cancelled_unsent:
                self._unclaimed.append(row.id)
            row.state = JobState.SUCCEEDED
            self._successes.append(self._success(job, row))
        else:
            self._fail(job, row)
        self._moves.add(row.chunk_id, old, row.state)
        if old.terminal:
            self._revived.add(row.batch_id)

    def _success(self, job: RemoteJob, row: MatchedAttempt) -> dict[str, Any]:
        output = job.outputs[0] if job.outputs else None
        return {
            "job": row.id,
            "task": job.id,
            "at": job.finished_at or self._transaction.now,
            "url": output.url if output else None,
            "format": _short(output.format, 50) if output else None,
            "width": output.width if output else None,
            "height": output.height if output else None,
            "duration_s": output.duration_s if output else None,
            "size_bytes": output.size_bytes if output else None,
            "raw": None if self._in_inbox else _to_json(job.raw),
        }

    def _fail(self, job: RemoteJob, row: MatchedAttempt) -> None:
        failure = classify_failure(job.error, job.status)
        change = {
            "job": row.id,
            "task": job.id,
            "reason_kind": _short(job.error.kind if job.error else None, 100),
            "reason": _short(job.error.message if job.error else failure.reason),
        }
        first_frame = (
            not failure.retryable
            and row.attempt < row.last_attempt
            and take_first_frame(self._transaction, job, row)
        )
        if first_frame or (failure.retryable and row.attempt < row.last_attempt):
            row.state = JobState.PLANNED
            wait_s = 0.0 if first_frame else _backoff_s(row)
            at = self._transaction.now + timedelta(seconds=wait_s)
            self._retry_at[row.chunk_id] = min(at, self._retry_at.get(row.chunk_id, at))
            self._retries.append({**change, "at": at})
            return
        row.state = JobState.CANCELLED if job.status is JobStatus.CANCELLED else JobState.FAILED
        # A retryable failure releases its claim, so the next batch makes the job again. A
        # permanent failure keeps its claim, so the next batch does not pay for it again.
        self._failures.append(
            {
                **change,
                "state": row.state.value,
                "keep": None if failure.retryable else row.claim,
                "at": job.finished_at or self._transaction.now,
                "raw": None if self._in_inbox else _to_json(job.raw),
            }
        )

    def write(self) -> None:
        """Write the changes; wake the chunks whose jobs have all ended."""
        TAKE_BACK.run(self._transaction, self._taken_back)
        SET_TASK_ID.run(self._transaction, self._task_ids)
        END_ATTEMPT.run(self._transaction, self._attempts, now=self._transaction.now)
        SUCCEED.run(self._transaction, self._successes)
        reclaim(self._transaction, self._unclaimed)
        FAIL.run(self._transaction, self._failures)
        RETRY.run(self._transaction, self._retries)
        self._moves.apply(self._transaction)
        note_ended(self._transaction, [row["job"] for row in (*self._successes, *self._failures)])
        for batch in sorted(self._revived):
            end_better(self._transaction, batch)
        if self._retry_at:
            runs.wake_chunks_at(self._transaction, self._retry_at)
        if self._moves.chunks:
            runs.wake_settled(self._transaction, self._moves.chunks)


def _backoff_s(row: MatchedAttempt) -> float:
    """Exponential backoff with jitter."""
    wait_s: float = row.backoff_s * 2.0 ** min(row.attempt - 1, 20)
    return min(wait_s, _MAX_BACKOFF_S) * random.uniform(0.8, 1.2)  # noqa: S311  no secret


def _short(text: str | None, max_chars: int = _MAX_TEXT_CHARS) -> str | None:
    # Postgres takes no NUL in text.
    return text.replace("\x00", "")[:max_chars] if text is not None else None


def _to_json(raw: Mapping[str, Any]) -> str | None:
    try:
        return orjson.dumps(raw).decode()
    except TypeError:
        return None  # nested too deeply for JSON; the delivery keeps the exact bytes
