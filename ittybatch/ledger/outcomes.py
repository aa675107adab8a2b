"""The bulk statements that write outcomes to jobs and attempts."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    Text,
    Update,
    bindparam,
    case,
    func,
    select,
    update,
)

from ittybatch.ledger.bulk import BulkStatement
from ittybatch.ledger.models import Attempt, Job, UtcDateTime
from ittybatch.ledger.states import JobState


def _update_job(given: FromClause) -> Update:
    return update(Job).where(Job.id == given.c.job)


# A webhook may arrive before the response to its submission, and the response may be lost.
_SUBMITTED_AT = func.coalesce(
    Job.submitted_at,
    select(Attempt.sent_at)
    .where(Attempt.job_id == Job.id, Attempt.number == Job.attempt)
    .correlate(Job)
    .scalar_subquery(),
)


def _submitted_by(given: FromClause) -> ColumnElement[datetime]:
    """When it was submitted by our clock, but not after its end by Ittybit's clock."""
    at: ColumnElement[datetime] = given.c.at
    return case((at < _SUBMITTED_AT, at), else_=_SUBMITTED_AT)


TAKE_BACK = BulkStatement(
    {"job": BigInteger, "number": Integer},
    lambda given: _update_job(given).values(attempt=given.c.number),
)
# Separate, so that other updates need not change the indexed `task_id`.
SET_TASK_ID = BulkStatement(
    {"job": BigInteger, "number": Integer, "task": Text},
    lambda given: (
        update(Attempt)
        .where(Attempt.job_id == given.c.job, Attempt.number == given.c.number)
        .values(task_id=given.c.task)
    ),
)
END_ATTEMPT = BulkStatement(
    {
        "job": BigInteger,
        "number": Integer,
        "state": Text,
        "reason_kind": Text,
        "reason": Text,
    },
    lambda given: (
        update(Attempt)
        .where(Attempt.job_id == given.c.job, Attempt.number == given.c.number)
        .values(
            state=given.c.state,
            completed_at=bindparam("now", type_=UtcDateTime),
            error_kind=given.c.reason_kind,
            error_message=given.c.reason,
        )
    ),
)
SUCCEED = BulkStatement(
    {
        "job": BigInteger,
        "task": Text,
        "at": UtcDateTime,
        "url": Text,
        "format": Text,
        "width": Integer,
        "height": Integer,
        "duration_s": Double,
        "size_bytes": BigInteger,
        "raw": Text,
    },
    lambda given: _update_job(given).values(
        state=JobState.SUCCEEDED.value,
        task_id=given.c.task,
        not_before=None,
        submitted_at=_submitted_by(given),
        completed_at=given.c.at,
        error_kind=None,
        error_message=None,
        output_url=given.c.url,
        output_format=given.c.format,
        output_width=given.c.width,
        output_height=given.c.height,
        output_duration_s=given.c.duration_s,
        output_size_bytes=given.c.size_bytes,
        outcome=given.c.raw,
    ),
)
FAIL = BulkStatement(
    {
        "job": BigInteger,
        "task": Text,
        "state": Text,
        "keep": Boolean,
        "at": UtcDateTime,
        "reason_kind": Text,
        "reason": Text,
        "raw": Text,
    },
    lambda given: _update_job(given).values(
        state=given.c.state,
        claim=given.c.keep,
        task_id=given.c.task,
        not_before=None,
        submitted_at=_submitted_by(given),
        completed_at=given.c.at,
        error_kind=given.c.reason_kind,
        error_message=given.c.reason,
        outcome=given.c.raw,
    ),
)
RETRY = BulkStatement(
    {
        "job": BigInteger,
        "task": Text,
        "at": UtcDateTime,
        "reason_kind": Text,
        "reason": Text,
    },
    lambda given: _update_job(given).values(
        state=JobState.PLANNED.value,
        task_id=given.c.task,
        not_before=given.c.at,
        deadline_at=None,
        error_kind=given.c.reason_kind,
        error_message=given.c.reason,
    ),
)
