"""Polling: jobs that nothing was heard of are asked after, and settled by the same path."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ittybatch.engine.listed import listed_jobs
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.errors import IttybitError, NotFound
from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ittybit.job import JobError, JobStatus
from ittybatch.ittybit.marks import Mark
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.overdue import OverdueJob, expired_jobs, note_polled, overdue_jobs
from ittybatch.ledger.runs import wake_chunks_at
from ittybatch.ledger.settlement import expire, settle
from ittybatch.ledger.states import Verdict
from ittybatch.ledger.submission import Accepted, record_accepted, return_unsent

_GROUP = 200
_CONCURRENCY = 32


@dataclass(slots=True)
class Polled:
    """What a round of polling came to."""

    asked: int = 0
    settled: int = 0
    expired: int = 0
    failed: int = 0
    trouble: str | None = None


async def poll_overdue(
    ledger: Ledger,
    client: IttybitClient,
    *,
    silent_s: float,
    chunk: int | None = None,
    limit: int = 10_000,
) -> Polled:
    """Ask Ittybit after the jobs that were silent for too long; give up those past a deadline.

    Args:
        ledger: Where the jobs are.
        client: The API.
        silent_s: Seconds of silence after which a job is asked after.
        chunk: Only this chunk's jobs, where given.
        limit: At most so many a call.
    """
    result = Polled()
    while result.asked < limit:
        jobs = ledger.read(overdue_jobs, silent_s=silent_s, chunk=chunk, limit=_GROUP)
        if not jobs:
            break
        await _poll_group(ledger, client, jobs, result)
        if result.trouble:
            break
    return result


async def poll_expired(ledger: Ledger, client: IttybitClient, batch: str) -> Polled:
    """Ask once more after the jobs of a batch that were given up.

    One that has succeeded meanwhile is taken as succeeded: it is paid for, and needs no retry.
    """
    result = Polled()
    after = 0
    while jobs := ledger.read(expired_jobs, batch, after=after, limit=_GROUP):
        after = jobs[-1].id
        await _poll_group(ledger, client, jobs, result)
    return result


async def _poll_group(
    ledger: Ledger, client: IttybitClient, jobs: Sequence[OverdueJob], result: Polled
) -> None:
    slots = asyncio.Semaphore(_CONCURRENCY)
    listed = await listed_jobs(client, jobs)

    async def ask(job: OverdueJob) -> RemoteJob | IttybitError | None:
        if job.task_id is not None and job.task_id in listed:
            return listed[job.task_id]
        async with slots:
            try:
                return await _ask(client, job)
            except IttybitError as error:
                return error

    answers = await asyncio.gather(*(ask(job) for job in jobs))
    for answer in answers:
        if isinstance(answer, IttybitError):
            result.failed += 1
            result.trouble = str(answer)
    heard = [
        (job, answer)
        for job, answer in zip(jobs, answers, strict=True)
        if not isinstance(answer, IttybitError)
    ]
    result.asked += len(jobs)
    settled, expired = ledger.write(_apply, heard)
    result.settled += settled
    result.expired += expired


async def _ask(client: IttybitClient, job: OverdueJob) -> RemoteJob | None:
    """What Ittybit says of a job; None where it does not know of it and nothing was recorded."""
    if job.task_id is None:
        return await find_again(client, job)
    try:
        found = await client.get_job(job.task_id)
    except NotFound:
        return lost(job.task_id)
    # It was asked for under this id, whichever spelling the answer gives.
    return replace(found, id=job.task_id)


async def find_again(client: IttybitClient, job: OverdueJob) -> RemoteJob | None:
    """Look for a job whose answer was never recorded, by its input, kind and metadata."""
    ours = Mark(job.batch_id, job.job_key, job.attempt)
    async for found in client.list_jobs(kind=job.kind, input=job.input):
        if Mark.read(found.metadata) == ours:
            return found
    return None


def lost(task_id: str) -> RemoteJob:
    """A job that Ittybit took and no longer knows: as good as failed, and worth another try."""
    return RemoteJob(
        id=task_id,
        status=JobStatus.FAILED,
        raw_status="lost",
        kind=None,
        input=None,
        outputs=(),
        error=JobError("job_lost", "Ittybit took this job and no longer knows of it."),
        metadata={},
        created_at=None,
        started_at=None,
        finished_at=None,
        raw={},
    )


def _apply(
    transaction: Transaction, heard: Sequence[tuple[OverdueJob, RemoteJob | None]]
) -> tuple[int, int]:
    note_polled(transaction, [job.id for job, _ in heard])
    found = [
        Accepted(job.id, job.attempt, answer.id)
        for job, answer in heard
        if answer is not None and job.task_id is None
    ]
    record_accepted(transaction, found)
    verdicts = settle(transaction, [answer for _, answer in heard if answer is not None])
    _send_again(transaction, [job for job, answer in heard if answer is None and job.past_deadline])
    expired = sum(
        expire(transaction, job.id)
        for job, answer in heard
        if job.past_deadline and answer is not None and not answer.status.terminal
    )
    return sum(verdict is Verdict.APPLIED for verdict in verdicts), expired


def _send_again(transaction: Transaction, jobs: Sequence[OverdueJob]) -> None:
    """Put back what Ittybit was asked for and does not have: it is sent under the same key.

    Its process died between the claim and the request, and nobody went on in time. Given up
    as expired it would be held back for a bill that cannot come.
    """
    return_unsent(transaction, [(job.id, job.attempt) for job in jobs], 0)
    if jobs:
        now = transaction.now
        wake_chunks_at(transaction, {job.chunk_id: now for job in jobs})
