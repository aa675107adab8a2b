"""The ledger's tables."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from ittybatch.ledger.columns import Base, Id, UtcDateTime
from ittybatch.ledger.page_models import Action, ChunkMinute, ChunkShare, ChunkTotals, LastRun
from ittybatch.ledger.prefect_models import Notice, Waiter

__all__ = [
    "Action",
    "Attempt",
    "Base",
    "Batch",
    "Chunk",
    "ChunkMinute",
    "ChunkShare",
    "ChunkTotals",
    "Delivery",
    "Follower",
    "Item",
    "Job",
    "LastRun",
    "Notice",
    "Outbox",
    "Reject",
    "Request",
    "Run",
    "Sink",
    "UtcDateTime",
    "Waiter",
]


class Batch(Base):
    """One run of `run_batch` over one source with one profile, both stored as they were then."""

    __tablename__ = "batches"
    __table_args__ = (
        Index(
            "ix_batches_accepts_until",
            "accepts_until",
            sqlite_where=text("accepts_until IS NOT NULL"),
            postgresql_where=text("accepts_until IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str | None] = mapped_column(Text)
    source: Mapped[dict[str, Any]]
    profile: Mapped[dict[str, Any]]
    options: Mapped[dict[str, Any]]
    scan_cursor: Mapped[str | None] = mapped_column(Text)
    scan_done: Mapped[bool] = mapped_column(default=False)
    counts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    resumed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    canary_passed: Mapped[bool] = mapped_column(default=False)
    trips: Mapped[int] = mapped_column(
        default=0, comment="times in a row that the service was found to be down"
    )
    closed_until: Mapped[datetime | None]
    why_ask: Mapped[str | None] = mapped_column(
        Text, comment="why somebody has to approve of it before it begins; none once they have"
    )
    asked_leg: Mapped[int | None] = mapped_column(
        comment="the leg that asked in the Prefect UI whether the batch may begin"
    )
    asked_run: Mapped[str | None] = mapped_column(
        String(64), comment="the flow run that this was a leg of"
    )
    wants_room: Mapped[bool] = mapped_column(
        default=False, comment="chunks wait for others to leave room for them"
    )
    tidied_at: Mapped[datetime | None] = mapped_column(
        comment="when its webhooks' bodies, polled answers and rejected rows were removed"
    )
    begun_by: Mapped[str | None] = mapped_column(
        String(36),
        index=True,
        comment="the flow run that began it; another may work for it since",
    )
    accepts_until: Mapped[datetime | None] = mapped_column(
        comment="a batch of requests takes more of them until then; null once it takes no more"
    )


class Chunk(Base):
    """A few hundred items of a batch, with its jobs counted by state."""

    __tablename__ = "chunks"
    __table_args__ = (UniqueConstraint("batch_id", "number"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id"))
    number: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), index=True)
    items: Mapped[int] = mapped_column(default=0)
    growing: Mapped[bool] = mapped_column(
        default=False,
        server_default=false(),
        comment="requests may still add items; it is not done before that ends",
    )
    sent: Mapped[int] = mapped_column(default=0, comment="submissions made, retries included")
    retried: Mapped[int] = mapped_column(default=0, comment="jobs that took more than one")
    planned: Mapped[int] = mapped_column(default=0)
    in_flight: Mapped[int] = mapped_column(default=0)
    succeeded: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    cancelled: Mapped[int] = mapped_column(default=0)
    expired: Mapped[int] = mapped_column(default=0)
    ended_at: Mapped[datetime | None]
    planned_at: Mapped[datetime | None] = mapped_column(
        comment="null for requests, which are sent as they come, and before revision 0010"
    )


class Item(Base):
    """One source object of a chunk. `number` counts through the batch from 0."""

    __tablename__ = "items"

    chunk_id: Mapped[int] = mapped_column(Id, ForeignKey("chunks.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    uri: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    modified_at: Mapped[datetime | None]
    line: Mapped[int | None]


class Job(Base):
    """One rendition of one item.

    `claim` is true as long as no other batch may make the same job: while the job is open, after
    it has succeeded, and while it is held back (it failed permanently, or was given up and may
    still be billed). Otherwise it is NULL, never false. The unique index on `job_key` and `claim`
    keeps a job from being made twice, and finds a job by its key.
    """

    __tablename__ = "jobs"
    # No index on `state`: with one, Postgres would write all of a job's indexes at each update.
    __table_args__ = (
        UniqueConstraint("job_key", "claim"),
        # The text, not a hash of it: a source lists similar names together, so their entries are
        # adjacent in the index. Hashes would be scattered over the whole index.
        Index(
            "ix_jobs_destination",
            "destination",
            sqlite_where=text("destination IS NOT NULL"),
            postgresql_where=text("destination IS NOT NULL"),
        ),
        # Its condition names no column that changes while a job goes well: on Postgres, a change
        # of a column in an index, or in its condition, writes all of the row's indexes.
        Index(
            "ix_jobs_failed",
            "chunk_id",
            sqlite_where=text("error_message IS NOT NULL"),
            postgresql_where=text("error_message IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    chunk_id: Mapped[int] = mapped_column(Id, ForeignKey("chunks.id"), index=True)
    item_number: Mapped[int]
    rendition: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(20))
    options: Mapped[str] = mapped_column(Text)
    destination: Mapped[str | None] = mapped_column(Text)
    user_metadata: Mapped[str] = mapped_column(Text)
    job_key: Mapped[str] = mapped_column(String(32))
    recipe: Mapped[str | None] = mapped_column(
        String(16), comment="digest of what its rendition asks of every item"
    )
    claim: Mapped[bool | None]
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(comment="allowed in this batch")
    last_attempt: Mapped[int]
    backoff_s: Mapped[float]
    deadline_s: Mapped[float]
    not_before: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    polled_at: Mapped[datetime | None]
    task_id: Mapped[str | None] = mapped_column(Text)
    submitted_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    error_kind: Mapped[str | None] = mapped_column(String(100))
    error_message: Mapped[str | None] = mapped_column(Text)
    output_url: Mapped[str | None] = mapped_column(Text)
    output_format: Mapped[str | None] = mapped_column(String(50))
    output_width: Mapped[int | None]
    output_height: Mapped[int | None]
    output_duration_s: Mapped[float | None]
    output_size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    failed_requests: Mapped[int] = mapped_column(
        default=0,
        server_default="0",
        comment="requests about it in a row that brought no usable answer",
    )
    failed_late: Mapped[int] = mapped_column(
        default=0,
        server_default="0",
        comment="of these, questions asked since its deadline passed",
    )
    last_problem: Mapped[str | None] = mapped_column(Text, comment="what the last of them said")
    outcome: Mapped[str | None] = mapped_column(
        Text, comment="what a poll told of its end; what webhooks told is in deliveries"
    )


class Attempt(Base):
    """One submission of a job: committed, with its Idempotency-Key, before it is sent."""

    __tablename__ = "attempts"
    __table_args__ = (Index("ix_attempts_task_id", "task_id", postgresql_using="hash"),)

    job_id: Mapped[int] = mapped_column(Id, ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    task_id: Mapped[str | None] = mapped_column(Text)
    sent_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
    error_kind: Mapped[str | None] = mapped_column(String(100))
    error_message: Mapped[str | None] = mapped_column(Text)


class Delivery(Base):
    """One webhook as received. The same bytes again only raise `times`."""

    __tablename__ = "deliveries"

    # `task_id` comes first, so that deliveries close in time are close in the index: digests
    # alone would be scattered over the whole index.
    task_id: Mapped[str] = mapped_column(
        Text, primary_key=True, comment="empty where none could be read"
    )
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(index=True)
    last_received_at: Mapped[datetime]
    times: Mapped[int] = mapped_column(default=1)
    status: Mapped[str | None] = mapped_column(String(50))
    verdict: Mapped[str] = mapped_column(String(16))
    body: Mapped[bytes] = mapped_column(LargeBinary)


class Run(Base):
    """The Prefect flow run that works for a batch or a chunk, and when to wake it.

    `owner` is `batch:<id>` or `chunk:<id>`. A run that Prefect has lost is replaced under the
    next `generation`.
    """

    __tablename__ = "runs"
    __table_args__ = (Index("ix_runs_state_wake_at", "state", "wake_at"),)

    owner: Mapped[str] = mapped_column(String(80), primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id"), index=True)
    generation: Mapped[int] = mapped_column(default=0)
    flow_run_id: Mapped[str | None] = mapped_column(String(36), index=True)
    deployment_id: Mapped[str | None] = mapped_column(String(36))
    state: Mapped[str] = mapped_column(String(16))
    leg: Mapped[int] = mapped_column(default=0)
    since: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    wake_at: Mapped[datetime | None]
    called_at: Mapped[datetime | None]
    calls: Mapped[int] = mapped_column(default=0)
    stumbles: Mapped[int] = mapped_column(
        default=0, comment="times in a row that the run ended before it had got on"
    )
    failures: Mapped[int] = mapped_column(
        default=0,
        server_default="0",
        comment="requests in a row that Prefect refused for this run",
    )
    retry_at: Mapped[datetime | None] = mapped_column(
        comment="when the waker tries again after a refused request"
    )


class Reject(Base):
    """A row of a source that could not become an item, and why."""

    __tablename__ = "rejects"

    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    line: Mapped[int | None]
    field: Mapped[str | None] = mapped_column(String(200))
    reason: Mapped[str] = mapped_column(Text)
    row: Mapped[str | None] = mapped_column(Text)


class Request(Base):
    """A request with an `Idempotency-Key`: sent again, it gets the jobs of the first."""

    __tablename__ = "requests"

    key: Mapped[str] = mapped_column(
        String(64), primary_key=True, comment="digest of the Idempotency-Key"
    )
    digest: Mapped[str] = mapped_column(String(64), comment="of the request's body")
    created_at: Mapped[datetime] = mapped_column(index=True)
    answer: Mapped[dict[str, Any]] = mapped_column(comment="the ids of its jobs")


class Follower(Base):
    """Another request for a job that exists, with its own metadata: sinks report it, too."""

    __tablename__ = "followers"
    __table_args__ = (UniqueConstraint("job_id", "digest"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    job_id: Mapped[int] = mapped_column(Id, ForeignKey("jobs.id"))
    digest: Mapped[str] = mapped_column(String(32), comment="of `user_metadata`")
    user_metadata: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class Sink(Base):
    """A place that results are delivered to, as `results.yaml` declares it."""

    __tablename__ = "sinks"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    active: Mapped[bool] = mapped_column(comment="whether jobs that end are put into its outbox")
    on_accepted: Mapped[bool] = mapped_column(
        comment="whether it also hears of jobs that Ittybit has accepted"
    )
    lease_owner: Mapped[str | None] = mapped_column(
        String(64), comment="the process that delivers now"
    )
    lease_until: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(
        default=0, comment="deliveries in a row that failed because the sink was unavailable"
    )
    retry_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    last_delivered_at: Mapped[datetime | None]


class Outbox(Base):
    """One event of a job for one sink, committed with the change that it reports.

    `sink` and `job_id` are no foreign keys: neither sinks nor jobs are ever deleted, and checking
    them costs more than the insert itself, in the transaction that webhooks wait for.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "ix_outbox_pending",
            "sink",
            "id",
            sqlite_where=text("delivered_at IS NULL AND refused_at IS NULL"),
            postgresql_where=text("delivered_at IS NULL AND refused_at IS NULL"),
        ),
        Index(
            "ix_outbox_refused",
            "sink",
            "id",
            sqlite_where=text("refused_at IS NOT NULL"),
            postgresql_where=text("refused_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    sink: Mapped[str] = mapped_column(String(100))
    job_id: Mapped[int] = mapped_column(Id, index=True)
    follower_id: Mapped[int | None] = mapped_column(Id, ForeignKey("followers.id"))
    event: Mapped[str] = mapped_column(String(16), comment="accepted or ended")
    created_at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(default=0)
    delivered_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None] = mapped_column(
        comment="when the sink refused it for good; `ittybatch sinks retry` sends it again"
    )
    error: Mapped[str | None] = mapped_column(Text)
