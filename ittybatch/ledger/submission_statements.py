"""The statements that record submissions: of many jobs at once, on either database."""

from sqlalchemy import (
    BigInteger,
    FromClause,
    Insert,
    Integer,
    Text,
    bindparam,
    case,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from ittybatch.ledger.bulk import BulkStatement
from ittybatch.ledger.models import Attempt, Job, UtcDateTime
from ittybatch.ledger.states import AttemptState, JobState


def _insert_attempts(statement: sqlite.Insert | postgresql.Insert, given: FromClause) -> Insert:
    columns = {
        "job_id": given.c.job,
        "number": given.c.number,
        "idempotency_key": given.c.key,
        "state": literal(AttemptState.SENDING.value),
        "sent_at": bindparam("now", type_=UtcDateTime),
    }
    # Without a WHERE, SQLite parses ON CONFLICT as the condition of a join.
    statement = statement.from_select(
        list(columns), select(*columns.values()).where(given.c.number > 0)
    )
    return statement.on_conflict_do_nothing()


BEGIN_ATTEMPT = BulkStatement(
    {"job": BigInteger, "number": Integer, "key": Text},
    lambda given: _insert_attempts(sqlite.insert(Attempt), given),
    lambda given: _insert_attempts(postgresql.insert(Attempt), given),
)
CLAIM = BulkStatement(
    {"job": BigInteger, "deadline": UtcDateTime},
    lambda given: (
        update(Job)
        .where(Job.id == given.c.job)
        .values(
            state=JobState.SUBMITTING.value,
            attempt=Job.attempt + 1,
            not_before=None,
            deadline_at=given.c.deadline,
            # Clear the values of the previous attempt.
            submitted_at=None,
            polled_at=None,
            error_kind=None,
            error_message=None,
            failed_requests=0,
            failed_late=0,
            last_problem=None,
        )
    ),
)
RETURN = BulkStatement(
    {"job": BigInteger, "until": UtcDateTime},
    lambda given: (
        update(Job)
        .where(Job.id == given.c.job)
        .values(
            state=JobState.PLANNED.value,
            attempt=Job.attempt - 1,
            not_before=given.c.until,
            deadline_at=None,
        )
    ),
)
_ACCEPTED = {"job": BigInteger, "number": Integer, "task": Text}
# The webhook may have arrived before the response: an ended attempt stays ended.
ACCEPT_ATTEMPT = BulkStatement(
    _ACCEPTED,
    lambda given: (
        update(Attempt)
        .where(Attempt.job_id == given.c.job, Attempt.number == given.c.number)
        .values(
            task_id=given.c.task,
            state=case(
                (Attempt.state == AttemptState.SENDING.value, AttemptState.ACCEPTED.value),
                else_=Attempt.state,
            ),
        )
    ),
)
ACCEPT_JOB = BulkStatement(
    _ACCEPTED,
    lambda given: (
        update(Job)
        .where(
            Job.id == given.c.job,
            Job.attempt == given.c.number,
            Job.task_id.is_(None) | (Job.state == JobState.SUBMITTING.value),
        )
        .values(
            task_id=given.c.task,
            not_before=case((Job.state == JobState.SUBMITTING.value, None), else_=Job.not_before),
            submitted_at=case(
                (Job.state == JobState.SUBMITTING.value, bindparam("now", type_=UtcDateTime)),
                else_=func.coalesce(Job.submitted_at, bindparam("now", type_=UtcDateTime)),
            ),
            failed_requests=0,
            last_problem=None,
            state=case(
                (Job.state == JobState.SUBMITTING.value, JobState.SUBMITTED.value),
                else_=Job.state,
            ),
        )
    ),
)
POSTPONE = (
    update(Job)
    .where(
        Job.id == bindparam("job"),
        Job.attempt == bindparam("attempt_number"),
        Job.state == JobState.SUBMITTING.value,
    )
    .values(not_before=bindparam("until"))
)
