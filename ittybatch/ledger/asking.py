"""Polling: which jobs to poll soon, what failed polls mean, and when to give a job up."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, or_, select, update

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Attempt, Chunk, Job
from ittybatch.ledger.runs import wake_chunks_at
from ittybatch.ledger.settlement import expire
from ittybatch.ledger.states import IN_FLIGHT_JOBS, JobState

_IN_FLIGHT = sorted(state.value for state in IN_FLIGHT_JOBS)
_MAX_PROBLEM_CHARS = 500
# The wait between polls of a job whose deadline has passed; it doubles after each failure.
_FIRST_LATE_WAIT_S = 15.0
_MAX_LATE_WAIT_S = 600.0
# A job past its deadline is given up after this many failed polls: after 45 seconds if Ittybit
# answers about other jobs, and after half an hour if it does not answer at all.
_MAX_LATE_FAILURES = 3
_MAX_LATE_FAILURES_AWAY = 8

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_IDS = 20
_TASK_ID = re.compile(rb'"id"\s*:\s*"([\x21\x23-\x5b\x5d-\x7e]{1,255})"')
_JOB_KEY = re.compile(rb'"(?:ittybatch_job_key|job_id)"\s*:\s*"([0-9a-f]{32})"')


@dataclass(frozen=True, slots=True)
class Problem:
    """A request about a job that got no usable answer."""

    job: int
    message: str


@dataclass(frozen=True, slots=True)
class Problems:
    """Failed polls of the jobs of a batch.

    Args:
        jobs: Jobs in flight whose last poll failed.
        requests: The largest number of consecutive failures of one of them.
        message: The error of that job's last poll.
    """

    jobs: int
    requests: int
    message: str

    def describe(self) -> str:
        """Summarise the failed polls in a sentence."""
        return (
            f"Ittybit gave no usable answer about {self.jobs:,} jobs in flight; "
            f"{self.requests:,} times in a row about one of them: {self.message} "
            "They are polled again, and given up after their deadlines."
        )


def note_problems(transaction: Transaction, problems: Sequence[Problem]) -> None:
    """Count failed requests, and keep the last message of each job."""
    for each in sorted(problems, key=lambda problem: problem.job):
        transaction.execute(
            update(Job)
            .where(Job.id == each.job, Job.state.in_(_IN_FLIGHT))
            .values(
                failed_requests=Job.failed_requests + 1,
                last_problem=each.message[:_MAX_PROBLEM_CHARS],
            )
        )


def give_up_or_wait(transaction: Transaction, problem: Problem, *, away: bool) -> bool:
    """Count a failed poll of a job past its deadline; give the job up after too many.

    Args:
        transaction: The transaction to do it in.
        problem: The job and the error of its poll.
        away: Whether Ittybit answers no request at all, so that a failure says little about
            the job.

    Returns:
        Whether the job was given up; otherwise its deadline is postponed, and it is polled again.
    """
    rows = transaction.rows(
        select(Job.failed_late)
        .where(
            Job.id == problem.job,
            Job.state.in_(_IN_FLIGHT),
            Job.deadline_at <= transaction.now,
        )
        .with_for_update()
    )
    if not rows:
        return False
    failed = rows[0].failed_late + 1
    if failed >= (_MAX_LATE_FAILURES_AWAY if away else _MAX_LATE_FAILURES):
        return expire(transaction, problem.job, problem.message)
    wait_s = min(_FIRST_LATE_WAIT_S * 2.0 ** (failed - 1), _MAX_LATE_WAIT_S)
    transaction.execute(
        update(Job)
        .where(Job.id == problem.job)
        .values(failed_late=failed, deadline_at=transaction.now + timedelta(seconds=wait_s))
    )
    return False


def problems_of(transaction: Transaction, batch: str) -> Problems | None:
    """The failed polls of a batch's jobs, or None if no poll failed."""
    waiting = (
        Chunk.batch_id == batch,
        # Without it, the jobs of every chunk would be read.
        Chunk.in_flight > 0,
        Job.state.in_(_IN_FLIGHT),
        Job.failed_requests > 0,
    )
    of_batch = select(Job.id).join(Chunk, Chunk.id == Job.chunk_id).where(*waiting)
    jobs = transaction.execute(select(func.count()).select_from(of_batch.subquery())).scalar_one()
    if not jobs:
        return None
    worst = transaction.execute(
        select(Job.failed_requests, Job.last_problem)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(*waiting)
        .order_by(Job.failed_requests.desc(), Job.id)
        .limit(1)
    ).one()
    return Problems(jobs, worst.failed_requests, worst.last_problem or "no reason given")


def poll_soon(transaction: Transaction, bodies: Sequence[bytes]) -> None:
    """Schedule an early poll of the jobs that unreadable webhooks seem to be about.

    The content of the webhooks is not applied: they are only a hint that there is news.
    """
    tasks = {name for body in bodies for name in _ids_in(_TASK_ID, body)}
    keys = {name for body in bodies for name in _ids_in(_JOB_KEY, body)}
    if not tasks and not keys:
        return
    of_task = select(Attempt.job_id).where(Attempt.task_id.in_(tasks))
    rows = transaction.rows(
        select(Job.id, Job.chunk_id)
        .where(
            or_(Job.id.in_(of_task), Job.job_key.in_(keys)),
            Job.state == JobState.SUBMITTED.value,
        )
        .order_by(Job.id)
        .with_for_update()
    )
    if not rows:
        return
    # Jobs with the oldest `polled_at` are polled first.
    transaction.execute(
        update(Job).where(Job.id.in_([row.id for row in rows])).values(polled_at=_LONG_AGO)
    )
    wake_chunks_at(transaction, {row.chunk_id: transaction.now for row in rows})


def _ids_in(pattern: re.Pattern[bytes], body: bytes) -> list[str]:
    matches = (match[1].decode() for match in pattern.finditer(body))
    return [name for name, _ in zip(matches, range(_MAX_IDS), strict=False)]
