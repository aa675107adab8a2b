"""What the ledger knows of one item: its jobs, attempts, webhooks and deliveries to sinks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ittybatch.ledger.outbox import OutboxEvent
from ittybatch.ledger.states import AttemptState, BatchState, JobState, Verdict


@dataclass(frozen=True, slots=True)
class AttemptEvent:
    """One submission of a job.

    Args:
        number: Its number, counted through all batches that made the job.
        state: Its state.
        task_id: Ittybit's id for it; None before Ittybit has accepted it.
        idempotency_key: The key that it was sent with.
        sent_at: When it was claimed for sending.
        completed_at: When its end was recorded.
        error_kind: Kind of its error, if it has failed.
        error_message: What Ittybit said of it.
    """

    number: int
    state: AttemptState
    task_id: str | None
    idempotency_key: str
    sent_at: datetime
    completed_at: datetime | None
    error_kind: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class DeliveryEvent:
    """One webhook about a job. `timeline.delivery_body` reads its body.

    Args:
        task_id: Ittybit's id of the attempt that it is about.
        digest: SHA-256 of its body, in hex; with `task_id` it names the webhook.
        received_at: When it came first.
        last_received_at: When the same bytes came last.
        times: How often they came.
        status: The status in it, as Ittybit spelled it.
        verdict: What it changed.
        size_bytes: Size of its body.
    """

    task_id: str
    digest: str
    received_at: datetime
    last_received_at: datetime
    times: int
    status: str | None
    verdict: Verdict
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SinkEvent:
    """One event of a job on its way to one sink.

    Args:
        id: Number of the event in the outbox.
        sink: Name of the sink.
        event: What it tells the sink.
        created_at: When it happened.
        tries: Deliveries that failed.
        delivered_at: When the sink took it.
        refused_at: When the sink refused it for good.
        error: Why the last try failed.
        follower: Whether it is for another request that asked for the same job.
    """

    id: int
    sink: str
    event: OutboxEvent
    created_at: datetime
    tries: int
    delivered_at: datetime | None
    refused_at: datetime | None
    error: str | None
    follower: bool


@dataclass(frozen=True, slots=True)
class SameJob:
    """The same job in another batch: an earlier try of it, or a later one."""

    id: int
    batch_id: str
    chunk_id: int
    item_number: int
    state: JobState
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobHistory:
    """One job of an item, with all that happened to it.

    Args:
        id: The ledger's id.
        rendition: Name of the rendition.
        kind: Kind of job.
        options: What is asked of Ittybit.
        destination: Where the output is written; None for Ittybit's own storage.
        metadata: The user's own pairs.
        job_key: What identifies the job through all batches.
        state: Its state.
        held_back: Whether no batch makes it again until it is released.
        made: Attempts that this batch has made.
        allowed: Attempts that this batch may make.
        not_before: When the next attempt is due, if it waits for one.
        deadline_at: When it is given up, if it is under way.
        polled_at: When Ittybit was last asked about it.
        task_id: Ittybit's id of the newest attempt.
        submitted_at: When Ittybit accepted the newest attempt.
        completed_at: When it ended.
        error_kind: Kind of its error.
        error_message: What the error says.
        last_problem: What the last unsuccessful request about it said.
        output_url: URL of the output.
        output_format: Format of the output.
        output_width: Width in pixels.
        output_height: Height in pixels.
        output_duration_s: Length in seconds.
        output_size_bytes: Size of the output.
        has_poll_answer: Whether a poll reported its end; `timeline.poll_answer` reads the answer.
        attempts: Its attempts, the oldest first.
        deliveries: The webhooks about it, the oldest first.
        sinks: Its events for sinks, the oldest first.
        followers: Metadata of other requests that asked for the same job.
        elsewhere: The same job in other batches, the oldest first.
    """

    id: int
    rendition: str
    kind: str
    options: Mapping[str, Any]
    destination: str | None
    metadata: Mapping[str, Any]
    job_key: str
    state: JobState
    held_back: bool
    made: int
    allowed: int
    not_before: datetime | None
    deadline_at: datetime | None
    polled_at: datetime | None
    task_id: str | None
    submitted_at: datetime | None
    completed_at: datetime | None
    error_kind: str | None
    error_message: str | None
    last_problem: str | None
    output_url: str | None
    output_format: str | None
    output_width: int | None
    output_height: int | None
    output_duration_s: float | None
    output_size_bytes: int | None
    has_poll_answer: bool
    attempts: Sequence[AttemptEvent]
    deliveries: Sequence[DeliveryEvent]
    sinks: Sequence[SinkEvent]
    followers: Sequence[Mapping[str, Any]]
    elsewhere: Sequence[SameJob]


@dataclass(frozen=True, slots=True)
class ItemHistory:
    """One item of a batch, with its jobs.

    Args:
        chunk_id: The chunk that it belongs to.
        number: Its number in the batch, from 0.
        chunk_number: The chunk's number in the batch.
        uri: Where the source object is.
        fingerprint: What tells versions of the object apart, if the source gave one.
        size_bytes: Its size, if known.
        modified_at: When it was changed, if known.
        line: Its line in the manifest, if it came from one.
        batch_id: Its batch.
        batch_name: The batch's name.
        batch_state: The batch's state.
        planned_at: When its chunk was planned. None for a request, which is sent as it comes, and
            for chunks that were planned before the ledger kept this.
        jobs: Its jobs, in the order in which they were planned.
    """

    chunk_id: int
    number: int
    chunk_number: int
    uri: str
    fingerprint: str | None
    size_bytes: int | None
    modified_at: datetime | None
    line: int | None
    batch_id: str
    batch_name: str
    batch_state: BatchState
    planned_at: datetime | None
    jobs: Sequence[JobHistory]
