"""Poll Ittybit for the state of silent jobs, and settle them in the same way as webhooks do."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ittybatch.engine.connection import connect
from ittybatch.engine.listed import listed_jobs
from ittybatch.engine.lookup import find_own
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.errors import (
    IttybitConnectionError,
    IttybitError,
    IttybitTimeout,
    NotFound,
    UnreadableAnswer,
)
from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ittybit.job import JobError, JobStatus
from ittybatch.ittybit.marks import Mark
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.asking import Problem, give_up_or_wait, note_problems
from ittybatch.ledger.overdue import (
    OverdueJob,
    expired_jobs,
    note_answered,
    note_polled,
    overdue_jobs,
)
from ittybatch.ledger.runs import wake_chunks_at
from ittybatch.ledger.settlement import expire, settle
from ittybatch.ledger.states import Verdict
from ittybatch.ledger.submission import Accepted, record_accepted, return_unsent
from ittybatch.settings import Settings

_GROUP = 200
_CONCURRENCY = 32
_NEVER_ACCEPTED = "Ittybit did not have it, although it was sent again."


@dataclass(slots=True)
class Polled:
    """The result of a round of polling."""

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
    """Poll the jobs that were silent for too long, and give up those past their deadline.

    Args:
        ledger: The ledger that has the jobs.
        client: Client of Ittybit's API.
        silent_s: Seconds of silence after which a job is polled.
        chunk: Id of the chunk whose jobs to poll; None for all chunks.
        limit: Maximum number of jobs.
    """
    result = Polled()
    seen: set[int] = set()
    while result.asked < limit:
        found = ledger.read(overdue_jobs, silent_s=silent_s, chunk=chunk, limit=_GROUP)
        # The jobs that were silent longest come first. If all were polled already, the round is
        # complete.
        jobs = [job for job in found if job.id not in seen]
        if not jobs:
            break
        seen.update(job.id for job in jobs)
        answered = await _poll_group(ledger, client, jobs, result)
        if not answered:
            break
    return result


async def poll_silent(settings: Settings, ledger: Ledger, chunk: int | None = None) -> Polled:
    """Poll the silent jobs of one chunk, or of all chunks. Connect only if there are any."""
    if not ledger.read(overdue_jobs, silent_s=settings.silence_s, chunk=chunk, limit=1):
        return Polled()
    async with connect(settings) as client:
        return await poll_overdue(ledger, client, silent_s=settings.silence_s, chunk=chunk)


async def poll_expired(ledger: Ledger, client: IttybitClient, batch: str) -> Polled:
    """Poll the expired jobs of a batch once more.

    If a job has succeeded meanwhile, record that: it was billed and needs no retry.
    """
    result = Polled()
    after = 0
    while jobs := ledger.read(expired_jobs, batch, after=after, limit=_GROUP):
        after = jobs[-1].id
        await _poll_group(ledger, client, jobs, result)
    return result


async def _poll_group(
    ledger: Ledger, client: IttybitClient, jobs: Sequence[OverdueJob], result: Polled
) -> int:
    """Poll some jobs; return the number of jobs that Ittybit answered for."""
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
    heard: list[tuple[OverdueJob, RemoteJob | None]] = []
    failed: list[tuple[OverdueJob, IttybitError]] = []
    for job, answer in zip(jobs, answers, strict=True):
        if isinstance(answer, IttybitError):
            failed.append((job, answer))
            result.trouble = str(answer)
        else:
            heard.append((job, answer))
    away = bool(failed) and not heard and await _is_away(client, [error for _, error in failed])
    result.asked += len(jobs)
    result.failed += len(failed)
    settled, expired = ledger.write(_apply, heard)
    result.settled += settled
    result.expired += expired + ledger.write(_note_failed, failed, away=away)
    return len(heard)


async def _is_away(client: IttybitClient, errors: Sequence[IttybitError]) -> bool:
    """Whether Ittybit answers no requests at all, and does not only fail for these jobs."""
    if all(isinstance(error, IttybitConnectionError | IttybitTimeout) for error in errors):
        return True
    try:
        async for _ in client.list_jobs(page_size=1):
            break
    except UnreadableAnswer:
        return False  # Ittybit answers
    except IttybitError:
        return True
    return False


async def _ask(client: IttybitClient, job: OverdueJob) -> RemoteJob | None:
    """Request a job; None if its submission was never answered and Ittybit does not have it."""
    if job.task_id is None:
        mark = Mark(job.batch_id, job.job_key, job.attempt)
        return await find_own(client, mark, job.kind, job.input)
    try:
        found = await client.get_job(job.task_id)
    except NotFound:
        return lost(job.task_id)
    # Keep the requested id, even if the response spells it differently.
    return replace(found, id=job.task_id)


def lost(task_id: str) -> RemoteJob:
    """Describe a job that Ittybit accepted but lost: it counts as failed and is retried."""
    return RemoteJob(
        id=task_id,
        status=JobStatus.FAILED,
        raw_status="lost",
        kind=None,
        input=None,
        outputs=(),
        error=JobError("job_lost", "Ittybit accepted this job and no longer has it."),
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
    note_answered(transaction, [job.id for job, _ in heard])
    found = [
        Accepted(job.id, job.attempt, answer.id)
        for job, answer in heard
        if answer is not None and job.task_id is None
    ]
    record_accepted(transaction, found)
    verdicts = settle(transaction, [answer for _, answer in heard if answer is not None])
    absent = [job for job, answer in heard if answer is None and job.past_deadline]
    _send_again(transaction, [job for job in absent if not job.deadlines_exhausted])
    expired = sum(
        expire(transaction, job.id)
        for job, answer in heard
        if job.past_deadline and answer is not None and not answer.status.terminal
    )
    expired += sum(
        expire(transaction, job.id, _NEVER_ACCEPTED) for job in absent if job.deadlines_exhausted
    )
    return sum(verdict is Verdict.APPLIED for verdict in verdicts), expired


def _note_failed(
    transaction: Transaction, failed: Sequence[tuple[OverdueJob, IttybitError]], *, away: bool
) -> int:
    """Record why jobs could not be polled; give up jobs that could not be polled for too long."""
    note_polled(transaction, [job.id for job, _ in failed])
    problems = {job: Problem(job.id, error.message) for job, error in failed}
    note_problems(transaction, list(problems.values()))
    return sum(
        give_up_or_wait(transaction, problem, away=away)
        for job, problem in problems.items()
        if job.past_deadline
    )


def _send_again(transaction: Transaction, jobs: Sequence[OverdueJob]) -> None:
    """Mark jobs that Ittybit does not have as unsent, so that they are sent under the same key.

    Their process died between the claim and the request, and no other leg continued in time. If
    they expired, they would be quarantined, although they cannot have been billed.
    """
    return_unsent(transaction, [(job.id, job.attempt) for job in jobs], 0)
    if jobs:
        now = transaction.now
        wake_chunks_at(transaction, {job.chunk_id: now for job in jobs})
