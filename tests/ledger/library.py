"""Batches, jobs and outcomes for tests, made as the product makes them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, select, update

from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ittybit.job import JobError, JobStatus, Output
from ittybatch.ittybit.options import Kind
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.accepting import IntakeSpec
from ittybatch.ledger.batches import OpenBatch, finish_planning, open_batch
from ittybatch.ledger.chunks import ChunkPlace, chunk_of, release_chunks
from ittybatch.ledger.identity import owned_chunk
from ittybatch.ledger.intake import Order
from ittybatch.ledger.models import Batch
from ittybatch.ledger.plan import PlannedItem, PlannedPage
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.results import JobRow, all_job_rows
from ittybatch.ledger.submission import Accepted, Submission, claim_due, record_accepted
from ittybatch.profiles import Item, JobSpec
from ittybatch.profiles.job import item_key, job_key

PROFILE = {"name": "test", "renditions": [{"name": "sd", "kind": "video", "options": {}}]}

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def job(name: str, *, rendition: str = "sd", attempts: int = 3, **changes: Any) -> JobSpec:  # noqa: ANN401
    """A job of `s3://media/NAME`."""
    uri = f"s3://media/{name}"
    key = job_key(item_key(Item(uri, fingerprint="1")), "video", f'{{"r":"{rendition}"}}', None)
    given: dict[str, Any] = {
        "rendition": rendition,
        "kind": Kind.VIDEO,
        "input": uri,
        "options": {"height": 480},
        "destination": None,
        "metadata": {"show": "pilot"},
        "attempts": attempts,
        "deadline_s": 3600.0,
        "backoff_s": 10.0,
        "job_key": key,
    }
    return JobSpec(**{**given, **changes})


def page(*jobs: JobSpec, cursor: str = "end", **changes: Any) -> PlannedPage:  # noqa: ANN401
    """A page with one item a job."""
    items = [
        PlannedItem(Item(each.input, fingerprint="1", size_bytes=100), [each]) for each in jobs
    ]
    return replace(PlannedPage(items, [], {"found": len(items)}, cursor), **changes)


def new_batch(ledger: Ledger, *, flow_run_id: str | None = None, **changes: Any) -> OpenBatch:  # noqa: ANN401
    """An open batch that nothing has been planned of."""
    given: dict[str, Any] = {
        "flow_run_id": flow_run_id,
        "deployment_id": "11111111-1111-1111-1111-111111111111",
        "name": "test",
        "source": {"type": "bucket", "uri": "s3://media/"},
        "profile": PROFILE,
        "options": {},
    }
    return ledger.write(open_batch, **{**given, **changes})


def planned_batch(ledger: Ledger, *jobs: JobSpec, chunk_size: int = 1000) -> str:
    """A batch that has been planned to the end."""
    batch = new_batch(ledger).id
    ledger.write(plan_page, batch, page(*jobs), after=None, chunk_size=chunk_size)
    ledger.write(finish_planning, batch)
    return batch


def released_chunk(ledger: Ledger, batch: str) -> int:
    """The next chunk of a batch, released."""
    owners = ledger.write(release_chunks, batch, 1)
    chunk = owned_chunk(owners[-1])
    assert chunk is not None
    return chunk


def planned_chunk(ledger: Ledger, *names: str, **changes: Any) -> tuple[str, int]:  # noqa: ANN401
    """A batch with a job for each name, and its chunk, which is released."""
    batch = planned_batch(ledger, *(job(name, **changes) for name in names))
    return batch, released_chunk(ledger, batch)


def claimed(ledger: Ledger, *jobs: JobSpec) -> tuple[int, list[Submission]]:
    """A chunk whose jobs have all been claimed, and none answered."""
    chunk = released_chunk(ledger, planned_batch(ledger, *jobs))
    return chunk, ledger.write(claim_due, chunk, 100)


def submitted(ledger: Ledger, *jobs: JobSpec) -> tuple[int, list[Submission]]:
    """A chunk whose jobs Ittybit has accepted as `task-0`, `task-1`, ..."""
    chunk, submissions = claimed(ledger, *jobs)
    accept(ledger, submissions)
    return chunk, submissions


def accept(ledger: Ledger, submissions: list[Submission], prefix: str = "task") -> None:
    """Record that these submissions were accepted."""
    ledger.write(
        record_accepted,
        [
            Accepted(each.job_id, each.attempt, f"{prefix}-{number}")
            for number, each in enumerate(submissions)
        ],
    )


def place(ledger: Ledger, chunk: int) -> ChunkPlace:
    """A chunk as it stands."""
    return ledger.read(chunk_of, chunk)


def rows(ledger: Ledger, batch: str) -> list[JobRow]:
    """A batch's jobs."""
    return list(all_job_rows(ledger, batch))


def order(*jobs: JobSpec, digest: str = "d1", **changes: Any) -> Order:  # noqa: ANN401
    """A request for these jobs of one item."""
    spec = IntakeSpec("web", PROFILE, {"chunk_size": 3}, digest)
    planned = PlannedItem(Item(jobs[0].input, fingerprint="1"), jobs)
    return Order(**{"spec": spec, "planned": planned, **changes})


def end_of_day(transaction: Transaction) -> None:
    """Let the day of every batch of requests be over."""
    transaction.execute(
        update(Batch).where(Batch.accepts_until.is_not(None)).values(accepts_until=transaction.now)
    )


def remote(
    task: str,
    status: JobStatus = JobStatus.SUCCEEDED,
    *,
    error: JobError | None = None,
    metadata: dict[str, Any] | None = None,
) -> RemoteJob:
    """What Ittybit says of a job."""
    output = Output("https://cdn.test/out.mp4", "mp4", 854, 480, 12.5, 1000, {})
    return RemoteJob(
        id=task,
        status=status,
        raw_status=status.value,
        kind="video",
        input="s3://media/a.mov",
        outputs=(output,) if status is JobStatus.SUCCEEDED else (),
        error=error,
        metadata=metadata or {},
        created_at=None,
        started_at=None,
        finished_at=datetime(2026, 11, 21, tzinfo=UTC),
        raw={"id": task, "status": status.value},
    )


def failed(task: str, kind: str = "internal_error", message: str = "preempted") -> RemoteJob:
    """What Ittybit says of a job that has failed, retryably unless told otherwise."""
    return remote(task, JobStatus.FAILED, error=JobError(kind, message))


def all_batches() -> Select[tuple[str]]:
    """A query for every batch's id."""
    return select(Batch.id)
