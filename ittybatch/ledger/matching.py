"""Matching: which attempts the webhooks and poll responses of Ittybit are about."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import BigInteger, Text, and_, or_, select

from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ittybit.marks import Mark
from ittybatch.ledger.bulk import BulkQuery
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Attempt, Chunk, Job
from ittybatch.ledger.states import AttemptState, JobState


@dataclass(slots=True)
class MatchedAttempt:
    """An attempt and its job, with the changes of the outcomes applied so far."""

    id: int
    chunk_id: int
    batch_id: str
    job_key: str
    kind: str
    claim: bool | None
    state: JobState
    attempt: int
    attempts: int
    last_attempt: int
    backoff_s: float
    number: int
    task_id: str | None
    attempt_state: AttemptState

    @property
    def given_up(self) -> bool:
        """Whether we ended the attempt without a report from Ittybit.

        Earlier versions stored a refused attempt as failed, without Ittybit's id.
        """
        if self.attempt_state is AttemptState.FAILED:
            return self.task_id is None
        return self.attempt_state in {AttemptState.EXPIRED, AttemptState.REFUSED}

    @property
    def returned(self) -> bool:
        """Whether the attempt was returned as unsent, although it has been sent.

        A process that was slow, or cut off from Ittybit, sent it after another one had found no
        job for it there.
        """
        unsent = self.state is JobState.PLANNED or self.cancelled_unsent
        return unsent and self.number == self.attempt + 1

    @property
    def cancelled_unsent(self) -> bool:
        """Whether the job was cancelled as unsent. One cancelled at Ittybit keeps its claim."""
        return self.state is JobState.CANCELLED and self.claim is None

    def __post_init__(self) -> None:
        self.state = JobState(self.state)
        self.attempt_state = AttemptState(self.attempt_state)


def match_attempts(
    transaction: Transaction, jobs: Sequence[RemoteJob]
) -> dict[str, MatchedAttempt]:
    """Find and lock the attempts that some outcomes are about.

    An attempt is found by the id in the response to its submission. If the response was not
    recorded, it is found by the batch, job and attempt in the metadata that Ittybit echoes.

    Args:
        transaction: The transaction that holds the locks.
        jobs: The jobs as Ittybit reports them.

    Returns:
        The attempts that were found, by Ittybit's id.
    """
    tasks = [{"task": task} for task in sorted({job.id for job in jobs})]
    shared: dict[tuple[int, int], MatchedAttempt] = {}
    found = {
        row.task_id: shared.setdefault((row.id, row.number), row)
        for row in (MatchedAttempt(*values) for values in _BY_TASK.fetch(transaction, tasks))
    }
    marks = {
        job.id: mark for job in jobs if job.id not in found and (mark := Mark.read(job.metadata))
    }
    if marks:
        given = [
            {
                "task": task,
                "batch": mark.batch_id,
                "job_key": mark.job_key,
                "number": mark.attempt,
            }
            for task, mark in sorted(marks.items(), key=itemgetter(0))
        ]
        by_mark = {
            (Mark(row.batch_id, row.job_key, row.number), row.kind): row
            for row in (MatchedAttempt(*values) for values in _BY_MARK.fetch(transaction, given))
        }
        # A nested task (a probe, an import) may echo its job's metadata and is not the job.
        for job in jobs:
            row = by_mark.get((mark, job.kind or "")) if (mark := marks.get(job.id)) else None
            if row is not None and row.task_id in {None, job.id}:
                found[job.id] = shared.setdefault((row.id, row.number), row)
    # Outcomes about the same attempt share one row object, so each sees the earlier effects.
    return {task: row for task, row in found.items() if task is not None}


def _candidates() -> Any:  # noqa: ANN401  a Select of many columns
    """The columns of `MatchedAttempt`."""
    return (
        select(
            Job.id,
            Job.chunk_id,
            Chunk.batch_id,
            Job.job_key,
            Job.kind,
            Job.claim,
            Job.state,
            Job.attempt,
            Job.attempts,
            Job.last_attempt,
            Job.backoff_s,
            Attempt.number,
            Attempt.task_id,
            Attempt.state.label("attempt_state"),
        )
        .join(Job, Job.id == Attempt.job_id)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .order_by(Job.id)
        .with_for_update(of=[Job, Attempt])
    )


_BY_TASK = BulkQuery(
    {"task": Text},
    lambda given: _candidates().where(Attempt.task_id.in_(select(given.c.task))),
)
_BY_MARK = BulkQuery(
    {"task": Text, "batch": Text, "job_key": Text, "number": BigInteger},
    lambda given: _candidates().join(
        given,
        and_(
            Chunk.batch_id == given.c.batch,
            Job.job_key == given.c.job_key,
            Attempt.number == given.c.number,
            # A response that commits while this query waits for the row lock has set the id.
            or_(Attempt.task_id.is_(None), Attempt.task_id == given.c.task),
        ),
    ),
)
