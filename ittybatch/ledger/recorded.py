"""When the ledger recorded the end of a job.

A job's `completed_at` is Ittybit's own time, which may lie in the past when its webhook comes late,
and ahead of the ledger's clock. An attempt's `completed_at` is the ledger's.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Attempt, Job
from ittybatch.ledger.states import AttemptState, JobState

# A planned job that is cancelled ends by the ledger's clock, later than its last failed attempt.
_OF_ATTEMPT = (
    select(Attempt.completed_at)
    .where(
        Attempt.job_id == Job.id,
        Attempt.number == Job.attempt,
        or_(
            Job.state != JobState.CANCELLED.value,
            Attempt.state == AttemptState.CANCELLED.value,
        ),
    )
    .correlate(Job)
    .scalar_subquery()
)


def ledger_time(transaction: Transaction) -> datetime:
    """The time by the clock that recorded times are of."""
    return transaction.now


def end_recorded_before(at: datetime) -> ColumnElement[bool]:
    """The condition that the ledger had recorded the end of a job before a time.

    Args:
        at: The time, by the ledger's clock.
    """
    recorded_at: ColumnElement[datetime] = func.coalesce(_OF_ATTEMPT, Job.completed_at)
    return recorded_at < at
