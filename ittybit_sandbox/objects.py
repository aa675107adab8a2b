"""The API's representation of jobs and tasks."""

from datetime import UTC, datetime
from typing import Any

from ittybit_sandbox.jobs import Job, MediaFile
from ittybit_sandbox.vocabulary import Kind, Stage, Status

Shown = dict[str, Any]
STAGES = tuple(Stage)


def show_created(job: Job) -> Shown:
    """Show a new job, also in the response to a repeated request."""
    if job.standalone:
        return _standalone(job, Status.WAITING)
    request = job.request
    return {
        "id": job.id,
        "object": "job",
        "kind": request.kind,
        "input": request.input,
        "output": None,
        "options": request.options,
        "metadata": request.metadata,
        "status": Status.PENDING,
        "error": None,
        "tasks": [],
        "created_at": job.created_at,
        "started_at": None,
        "finished_at": None,
        "updated_at": job.created_at,
    }


def show_job(job: Job) -> Shown:
    """Show a job in its current state, with its tasks."""
    if job.standalone:
        return show_standalone(job)
    return show_created(job) | {
        "output": job.output["url"] if job.output else None,
        "status": job.status,
        "error": job.error,
        "tasks": [show_stage(job, stage) for stage in STAGES],
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "updated_at": job.updated_at,
    }


def show_created_task(job: Job) -> Shown:
    """Show a new job or task in the response to `POST /tasks`."""
    return with_sdk_times(show_created(job))


def show_task(job: Job) -> Shown:
    """Show a job or a standalone task in its current state, for the routes under `/tasks`."""
    return with_sdk_times(show_job(job))


def with_sdk_times(shown: Shown) -> Shown:
    """Add `created` and `updated`, the ISO 8601 times that the official SDK reads."""
    names = {"created": "created_at", "updated": "updated_at"}
    return shown | {name: _iso(shown[ms_name]) for name, ms_name in names.items()}


def _iso(moment_ms: int) -> str:
    moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show_standalone(job: Job) -> Shown:
    """Show a standalone task in its current state."""
    status = Status.WAITING if job.status is Status.QUEUED else job.status
    return _standalone(job, status) | {
        "output": _file(job.output, job.request.kind),
        "error": job.error,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "updated_at": job.updated_at,
    }


def show_stage(job: Job, stage: Stage) -> Shown:
    """Show one nested task of a job."""
    started_at, finished_at, status = _progress_of(job, stage)
    return {
        "id": f"{job.id}_{stage}",
        "object": "task",
        "kind": stage,
        "input": {"object": "external_file", "url": job.request.input},
        "options": job.request.options if stage is Stage.ENCODE else {},
        "output": _output_of(job, stage) if status is Status.SUCCEEDED else None,
        "status": status,
        "progress": None,
        "error": job.error if status is Status.FAILED else None,
        "created_at": job.created_at,
        "started_at": started_at,
        "finished_at": finished_at,
        "updated_at": finished_at or started_at or job.created_at,
    }


def _progress_of(job: Job, stage: Stage) -> tuple[int | None, int | None, Status]:
    if job.status is Status.SUCCEEDED and not job.stages:
        return job.started_at, job.finished_at, Status.SUCCEEDED
    if stage not in job.stages:
        return None, None, Status.CANCELLED if job.status.ended else Status.WAITING
    started_at, finished_at = job.stages[stage]
    if finished_at is not None:
        return started_at, finished_at, Status.SUCCEEDED
    if job.status is Status.FAILED:
        return started_at, job.finished_at, Status.FAILED
    return started_at, None, Status.PROCESSING


def _output_of(job: Job, stage: Stage) -> Shown | None:
    match stage:
        case Stage.PROBE:
            return _file(job.probed, job.request.kind)
        case Stage.IMPORT:
            return None
        case _:
            return _file(job.output, job.request.kind)


def _standalone(job: Job, status: Status) -> Shown:
    return {
        "id": job.id,
        "object": "task",
        "kind": job.request.kind,
        "input": {"object": "external_file", "url": job.request.input},
        "options": job.request.options,
        "metadata": job.request.metadata,
        "output": None,
        "status": status,
        "progress": None,
        "error": None,
        "created_at": job.created_at,
        "started_at": None,
        "finished_at": None,
        "updated_at": job.created_at,
    }


def _file(output: MediaFile | None, kind: Kind) -> Shown | None:
    if output is None:
        return None
    return {"object": "file", "kind": kind} | output
