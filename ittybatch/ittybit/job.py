"""A job as Ittybit reports it, read from every version of its API and webhooks."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.redaction import redacted
from ittybatch.ittybit.values import identifier, instant, number, record, text, whole

_MAX_ID = 255
_MAX_WORD = 64
_MAX_URL = 8192
_MAX_MESSAGE = 2000
_MAX_SIDE_PX = 2**31 - 1
_MAX_OUTPUTS = 1000
_MAX_WRAPPERS = 3
_SNAKE_CASE = re.compile(r"[a-z]+(?:_[a-z]+)+")
_NO_MESSAGE = "Ittybit gave no message."


class UnreadableJob(IttybatchError):
    """The payload contains no job id."""


class JobStatus(StrEnum):
    """The status of a job; every version of the API maps to one of these."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self is not JobStatus.RUNNING


# Any other word, `queued` or an unknown one, means that the job still runs: a job that is wrongly
# considered finished is lost; one that is wrongly considered running is polled again.
_STATUS_WORDS = {
    "succeeded": JobStatus.SUCCEEDED,
    "completed": JobStatus.SUCCEEDED,
    "ready": JobStatus.SUCCEEDED,
    "failed": JobStatus.FAILED,
    "error": JobStatus.FAILED,
    "cancelled": JobStatus.CANCELLED,
    "canceled": JobStatus.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Output:
    """One file that a job created. `raw` is Ittybit's object for it."""

    url: str
    format: str | None
    width: int | None
    height: int | None
    duration_s: float | None
    size_bytes: int | None
    raw: dict[str, Any]


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed. `kind` is Ittybit's name for the error, if it sent one."""

    kind: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as one answer or webhook reports it. `raw` is the job object of that answer."""

    id: str
    status: JobStatus
    raw_status: str
    kind: str | None
    input: str | None
    outputs: tuple[Output, ...]
    error: JobError | None
    metadata: dict[str, Any]
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    raw: dict[str, Any]


def status_of(word: str) -> JobStatus:
    """The status for a word; an unknown word means running."""
    return _STATUS_WORDS.get(word) or _STATUS_WORDS.get(word.strip().lower(), JobStatus.RUNNING)


def read_job(payload: Mapping[str, Any]) -> Job:
    """Read a job object from any version of Ittybit's API.

    Args:
        payload: The job itself, or wrapped in `data` as in an event or the oldest answers.

    Raises:
        UnreadableJob: The payload has no usable id. Nothing else is an error: invalid values
            are left out and stay visible in `raw`.
    """
    raw = _unwrapped(payload)
    job_id = identifier(raw.get("id"), _MAX_ID)
    if job_id is None:
        raise UnreadableJob("The payload contains no job: it has no usable `id`.")
    raw_status = text(raw.get("status"), _MAX_WORD) or ""
    status = status_of(raw_status)
    return Job(
        id=job_id,
        status=status,
        raw_status=raw_status,
        kind=identifier(raw.get("kind"), _MAX_WORD),
        input=_input_of(raw),
        outputs=tuple(islice(_outputs_of(raw), _MAX_OUTPUTS)),
        error=_error_of(raw, status),
        metadata=record(raw.get("metadata")) or {},
        created_at=_first_instant(raw, "created_at", "created"),
        started_at=_first_instant(raw, "started_at", "started"),
        finished_at=_first_instant(
            raw, "completed_at", "finished_at", "succeeded_at", "completed", "finished"
        ),
        raw=raw,
    )


def _unwrapped(payload: object) -> dict[str, Any]:
    found = record(payload)
    if found is None:
        raise UnreadableJob("The payload contains no job: it is not a JSON object.")
    for _ in range(_MAX_WRAPPERS):
        if found.get("id") is not None and found.get("object") != "event":
            break
        inner = record(found.get("data"))
        if inner is None:
            break
        found = inner
    return found


def _input_of(raw: dict[str, Any]) -> str | None:
    source = raw.get("input")
    if source is None:
        inputs = raw.get("inputs")
        source = inputs[0] if isinstance(inputs, list) and inputs else None
    described = record(source)
    return text(described.get("url") if described else source, _MAX_URL)


def _outputs_of(raw: dict[str, Any]) -> Iterator[Output]:
    """Every output, from `output`, `outputs` or `output_url`; a file object is its own output."""
    if raw.get("object") == "file":
        candidates: object = raw
    else:
        candidates = raw.get("output") or raw.get("outputs") or raw.get("output_url")
    for candidate in candidates if isinstance(candidates, list) else [candidates]:
        output = _output(candidate)
        if output is not None:
            yield output


def _output(candidate: object) -> Output | None:
    if isinstance(candidate, str):
        url = identifier(candidate, _MAX_URL)
        return Output(url, None, None, None, None, None, {"url": url}) if url else None
    raw = record(candidate)
    if raw is None:
        return None
    url = identifier(raw.get("url"), _MAX_URL)
    if url is None:
        return None
    size = raw.get("size")
    return Output(
        url=url,
        format=identifier(raw.get("format"), _MAX_WORD),
        width=whole(raw.get("width"), _MAX_SIDE_PX),
        height=whole(raw.get("height"), _MAX_SIDE_PX),
        duration_s=number(raw.get("duration")),
        size_bytes=whole(raw.get("filesize") if size is None else size),
        raw=raw,
    )


def _error_of(raw: dict[str, Any], status: JobStatus) -> JobError | None:
    """The job's error, or the error of its first failed task."""
    error = _error(raw.get("error"))
    if error is not None or status is JobStatus.SUCCEEDED:
        return error
    tasks = raw.get("tasks") or raw.get("steps")
    if not isinstance(tasks, list):
        return None
    described = (record(task) for task in tasks[:_MAX_OUTPUTS])
    errors = (_error(task.get("error")) for task in described if task)
    return next((found for found in errors if found), None)


def _error(value: object) -> JobError | None:
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, str):
        message = _message(value)
        kind = message if message and _SNAKE_CASE.fullmatch(message) else None
        return JobError(kind, message) if message else None
    described = record(value)
    if not described:
        return None
    kind = _first_identifier(described, "kind", "code", "type")
    messages = (_message(described.get(key)) for key in ("message", "detail", "error"))
    message = next((found for found in messages if found), None)
    return JobError(kind, message or kind or _NO_MESSAGE)


def _message(value: object) -> str | None:
    found = text(value, _MAX_MESSAGE)
    return redacted(found.strip()) or None if found else None


def _first_identifier(raw: dict[str, Any], *keys: str) -> str | None:
    found = (identifier(raw.get(key), _MAX_WORD) for key in keys)
    return next((word for word in found if word is not None), None)


def _first_instant(raw: dict[str, Any], *keys: str) -> datetime | None:
    for key in keys:
        value = raw.get(key)
        if value is not None:
            found = instant(value)
            if found is not None:
                return found
    return None
