"""The outbox: results to deliver to sinks, written in the transaction that settles the job.

Each active sink gets one row for an event of a job, and one for each follower of the job. The
transaction holds the lock of the job's row when it writes them, so for one job the ids of the
rows are in the order of its events.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Insert,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    exists,
    insert,
    literal,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from ittybatch.ledger.bulk import BulkStatement
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Follower, Job, Outbox, Sink, UtcDateTime
from ittybatch.ledger.states import OPEN_JOBS, JobState


class OutboxEvent(StrEnum):
    """What happened to a job."""

    ACCEPTED = "accepted"
    ENDED = "ended"


def note_ended(transaction: Transaction, jobs: Sequence[int]) -> None:
    """Tell every active sink that these jobs have ended. The caller has updated their rows."""
    rows = [{"job": job} for job in sorted(set(jobs))]
    _ENDED.run(transaction, rows, now=transaction.now)


def note_accepted(transaction: Transaction, attempts: Sequence[tuple[int, int]]) -> None:
    """Tell sinks with `on_accepted` that Ittybit accepted these (job, attempt) pairs.

    Only those that this transaction has set to submitted are reported: a webhook may have ended a
    job before the response to its submission was recorded.
    """
    rows = [{"job": job, "number": number} for job, number in attempts]
    _ACCEPTED.run(transaction, rows, now=transaction.now)


def note_followed(transaction: Transaction, followers: Sequence[int]) -> None:
    """Tell sinks about new followers of jobs that have already been accepted, or have ended.

    The caller has locked the rows of jobs that are open before it inserted the followers:
    otherwise a job could end between the two without anyone reporting it to the follower.
    """
    rows = [{"follower": follower} for follower in followers]
    _FOLLOWED_TO_ITTYBIT.run(transaction, rows, now=transaction.now)
    _FOLLOWED_TO_THE_END.run(transaction, rows, now=transaction.now)


_Column: TypeAlias = ColumnElement[Any] | InstrumentedAttribute[Any]
_COLUMNS = ("sink", "job_id", "follower_id", "event", "created_at", "tries")


def _gets(sink: Any, event: OutboxEvent) -> list[Any]:  # noqa: ANN401  the table or its alias
    return [sink.active, *([sink.on_accepted] if event is OutboxEvent.ACCEPTED else [])]


# Asked first and once for each statement: without a sink, no job and no follower is looked up.
_Any = aliased(Sink)


def _insert(event: OutboxEvent, *queries: tuple[FromClause, _Column, _Column]) -> Insert:
    """An INSERT of an event for each sink and each row of `queries`.

    Args:
        event: The event.
        queries: Each a joined FROM clause, and the columns of its job and follower.
    """
    parts: list[Select[Any]] = [
        select(
            Sink.name,
            job,
            follower,
            literal(event.value, Text),
            bindparam("now", type_=UtcDateTime),
            literal(0, Integer),
        )
        .select_from(rows.join(Sink, true()))
        .where(*_gets(Sink, event), exists(select(_Any.name).where(*_gets(_Any, event))))
        for rows, job, follower in queries
    ]
    return insert(Outbox).from_select(_COLUMNS, union_all(*parts), include_defaults=False)


_NO_FOLLOWER: ColumnElement[Any] = null()


def _ended(given: FromClause) -> Insert:
    followed = given.join(Follower, Follower.job_id == given.c.job)
    return _insert(
        OutboxEvent.ENDED,
        (given, given.c.job, _NO_FOLLOWER),
        (followed, given.c.job, Follower.id),
    )


def _accepted(given: FromClause) -> Insert:
    accepted = given.join(
        Job,
        and_(
            Job.id == given.c.job,
            Job.attempt == given.c.number,
            Job.state == JobState.SUBMITTED.value,
            Job.submitted_at == bindparam("now", type_=UtcDateTime),
        ),
    )
    return _insert(
        OutboxEvent.ACCEPTED,
        (accepted, Job.id, _NO_FOLLOWER),
        (accepted.join(Follower, Follower.job_id == Job.id), Job.id, Follower.id),
    )


def _followed(given: FromClause, event: OutboxEvent, *states: ColumnElement[bool]) -> Insert:
    followed = given.join(Follower, Follower.id == given.c.follower).join(
        Job, and_(Job.id == Follower.job_id, *states)
    )
    return _insert(event, (followed, Job.id, Follower.id))


_ENDED = BulkStatement({"job": BigInteger}, _ended)
_ACCEPTED = BulkStatement({"job": BigInteger, "number": Integer}, _accepted)
_FOLLOWED_TO_ITTYBIT = BulkStatement(
    {"follower": BigInteger},
    lambda given: _followed(given, OutboxEvent.ACCEPTED, Job.state == JobState.SUBMITTED.value),
)
_FOLLOWED_TO_THE_END = BulkStatement(
    {"follower": BigInteger},
    lambda given: _followed(
        given,
        OutboxEvent.ENDED,
        # A bulk statement takes no IN with a list.
        *(Job.state != state.value for state in sorted(OPEN_JOBS)),
    ),
)
