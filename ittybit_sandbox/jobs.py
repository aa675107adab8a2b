"""Jobs in memory, in the order of their creation."""

import hashlib
import secrets
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count, islice
from typing import TypedDict

import orjson

from ittybit_sandbox.validation import JobRequest, JsonObject
from ittybit_sandbox.vocabulary import Kind, Stage, Status


def now_ms() -> int:
    """Return milliseconds since the epoch, the API's unit of time."""
    return time.time_ns() // 1_000_000


def new_id(prefix: str) -> str:
    """Make an id that cannot be guessed."""
    return f"{prefix}_{secrets.token_hex(12)}"


class MediaFile(TypedDict, total=False):
    """Facts about an input or an output; `duration` in seconds, `size` in bytes."""

    url: str
    kind: str
    format: str
    width: int
    height: int
    duration: float
    size: int


class JobError(TypedDict):
    """Why a job failed."""

    kind: str
    message: str


class DeliveryState(StrEnum):
    """State of a webhook delivery."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    LOST = "lost"
    ABANDONED = "abandoned"


@dataclass(slots=True, eq=False)
class Delivery:
    """One webhook to one URL; `ordinal` is the URL's position among the URLs of the job.

    A forged delivery is not signed with the sandbox's secret and is sent once.
    """

    url: str
    ordinal: int
    forged: bool = False
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    last_status: int | None = None


@dataclass(slots=True, eq=False)
class Job:
    """One job, or one standalone task; `probed` is its input, once that is known."""

    id: str
    sequence: int
    request: JobRequest
    standalone: bool
    idempotency_key: str | None
    fingerprint: str
    identity: str
    attempt: int
    created_at: int
    status: Status = Status.QUEUED
    probed: MediaFile | None = None
    output: MediaFile | None = None
    error: JobError | None = None
    started_at: int | None = None
    finished_at: int | None = None
    updated_at: int = 0
    stages: dict[Stage, tuple[int, int | None]] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)

    @property
    def fault_identity(self) -> str:
        """The subject of this job's faults: the same in every run, in any order of requests."""
        return self.idempotency_key or f"{self.identity}/{self.attempt}"


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of jobs, and whether another page follows."""

    jobs: list[Job]
    has_more: bool


@dataclass(frozen=True, slots=True)
class ListingQuery:
    """Filters and position of a listing.

    Args:
        kind: Only jobs of this kind.
        status: Only jobs of this status.
        input: Only jobs of exactly this URL.
        limit: Jobs on a page.
        page: Which page, from 1.
        after: Sequence of the job that the page follows.
        before: Sequence of the job that the page ends at.
        descending: Newest first.
        with_tasks: Standalone tasks as well.
    """

    kind: Kind | None = None
    status: Status | None = None
    input: str | None = None
    limit: int = 20
    after: int | None = None
    before: int | None = None
    descending: bool = True
    page: int = 1
    with_tasks: bool = False

    def matches(self, job: Job) -> bool:
        """Return whether a job belongs to the listing."""
        return (
            (self.with_tasks or not job.standalone)
            and (self.kind is None or job.request.kind is self.kind)
            and (self.status is None or job.status is self.status)
        )


class JobStore:
    """Finds jobs by id, by input, and by position."""

    def __init__(self) -> None:
        self._by_id: dict[str, Job] = {}
        self._ordered: list[Job] = []
        self._by_input: dict[str, list[Job]] = {}
        self._sequence = count(1)
        self._attempts: Counter[str] = Counter()
        self.created_by_key: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._ordered)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._ordered)

    def get(self, job_id: str) -> Job | None:
        """Find a job or a standalone task."""
        return self._by_id.get(job_id)

    def create(
        self,
        request: JobRequest,
        *,
        key: str | None,
        fingerprint: str,
        standalone: bool = False,
        job_id: str | None = None,
        created_at: int | None = None,
    ) -> Job:
        """Add a job; `job_id` and `created_at` are given if it comes from the journal."""
        identity = work_identity(request)
        self._attempts[identity] += 1
        created = created_at or now_ms()
        job = Job(
            id=job_id or new_id("task"),
            sequence=next(self._sequence),
            request=request,
            standalone=standalone,
            idempotency_key=key,
            fingerprint=fingerprint,
            identity=identity,
            attempt=self._attempts[identity],
            created_at=created,
            updated_at=created,
        )
        self._by_id[job.id] = job
        self._ordered.append(job)
        self._by_input.setdefault(request.input, []).append(job)
        if key is not None:
            self.created_by_key[key] += 1
        return job

    def page(self, query: ListingQuery) -> Listing:
        """Return one page of jobs."""
        found = self._ordered if query.input is None else self._by_input.get(query.input, [])
        low, high = 0, len(found)
        newest, oldest = (
            (query.after, query.before) if query.descending else (query.before, query.after)
        )
        if newest is not None:
            high = bisect_left(found, newest, key=_sequence)
        if oldest is not None:
            low = bisect_right(found, oldest, key=_sequence)
        indexes = range(high - 1, low - 1, -1) if query.descending else range(low, high)
        admitted = (found[index] for index in indexes if query.matches(found[index]))
        skipped = (query.page - 1) * query.limit
        jobs = list(islice(admitted, skipped, skipped + query.limit + 1))
        return Listing(jobs[: query.limit], len(jobs) > query.limit)


def work_identity(request: JobRequest) -> str:
    """Hash what a job makes: equal jobs have the same identity."""
    work: JsonObject = {
        "input": request.input,
        "kind": request.kind,
        "options": request.options,
        "output": request.output,
    }
    raw = orjson.dumps(work, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(raw, digest_size=12).hexdigest()


def _sequence(job: Job) -> int:
    return job.sequence
