"""Claims that a batch took over to make jobs again, and that go back if it never sends them.

Without its claim, a job that has succeeded, expired or failed permanently would be paid for again
by the next ordinary batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, exists, or_, select, update
from sqlalchemy.orm import aliased

from ittybatch.ittybit.failures import classify_failure
from ittybatch.ittybit.job import JobError, JobStatus
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Attempt, Batch, Chunk, Job
from ittybatch.ledger.states import JobState

_AT_ONCE = 500
_KEEPING = [JobState.SUCCEEDED.value, JobState.EXPIRED.value, JobState.FAILED.value]
# Any request of a batch of requests may ask for that.
_MAKES_AGAIN = or_(
    Batch.options["again"].as_boolean().is_(True),
    Batch.source["type"].as_string().in_(["failed", "requests"]),
)


class Lender(NamedTuple):
    """A job whose claim an unsent job has taken over."""

    id: int
    job_key: str


def lock_claims(transaction: Transaction, chunks: ColumnElement[bool]) -> bool:
    """Keep planning from taking claims, if these chunks belong to a batch that makes jobs again.

    Call it before any row is locked: planning takes its lock first, too.

    Returns:
        Whether the batch makes jobs again.
    """
    query = select(Chunk.id).join(Batch, Batch.id == Chunk.batch_id).where(chunks, _MAKES_AGAIN)
    found = bool(transaction.rows(query.limit(1)))
    if found:
        transaction.serialise("planning")
    return found


def lenders_of(transaction: Transaction, unsent: Sequence[int]) -> list[Lender]:
    """Find the jobs whose claims these jobs took over, if their batch makes jobs again.

    Args:
        transaction: The transaction to read in.
        unsent: Ids of jobs that were never sent; others are ignored.
    """
    earlier, later = aliased(Job), aliased(Job)
    newest = {}
    for start in range(0, len(unsent), _AT_ONCE):
        rows = transaction.rows(
            select(
                earlier.id,
                earlier.job_key,
                earlier.state,
                earlier.error_kind,
                earlier.error_message,
            )
            .join(later, later.job_key == earlier.job_key)
            .join(Chunk, Chunk.id == later.chunk_id)
            .join(Batch, Batch.id == Chunk.batch_id)
            .where(
                later.id.in_(unsent[start : start + _AT_ONCE]),
                earlier.id < later.id,
                earlier.state.in_(_KEEPING),
                _MAKES_AGAIN,
                # One that was claimed and put back has an attempt that was never sent, unless its
                # request left late and was accepted after all.
                ~exists().where(
                    Attempt.job_id == later.id,
                    or_(Attempt.number <= later.attempt, Attempt.task_id.is_not(None)),
                ),
            )
            .order_by(earlier.id)
        )
        newest.update({row.job_key: row for row in rows})
    return [
        Lender(row.id, row.job_key)
        for row in newest.values()
        if _keeps_claim(row.state, row.error_kind, row.error_message)
    ]


def return_claims(transaction: Transaction, lenders: Sequence[Lender]) -> None:
    """Give claims back to jobs whose keys no other job claims."""
    for start in range(0, len(lenders), _AT_ONCE):
        _claim_free(transaction, [lender.id for lender in lenders[start : start + _AT_ONCE]])


def reclaim(transaction: Transaction, jobs: Sequence[int]) -> None:
    """Claim the keys of jobs that turned out to be paid for, unless other jobs claim them.

    Planning, which has read that nobody claims a key, would fail to insert its own claim. Here its
    lock comes after those of rows. If that ever leads to a deadlock, the database rolls one of both
    back, and it is repeated.
    """
    if jobs:
        transaction.serialise("planning")
        _claim_free(transaction, jobs)


def _claim_free(transaction: Transaction, jobs: Sequence[int]) -> None:
    """Claim the keys of jobs, except those that other jobs claim."""
    other = aliased(Job)
    claimed = exists().where(other.job_key == Job.job_key, other.claim.is_not(None))
    transaction.execute(update(Job).where(Job.id.in_(jobs), ~claimed).values(claim=True))


def _keeps_claim(state: str, kind: str | None, message: str | None) -> bool:
    if state != JobState.FAILED.value:
        return True
    error = JobError(kind or "", message or "")
    return not classify_failure(error, JobStatus.FAILED).retryable
