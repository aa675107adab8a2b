"""What a sink gets, and what it answers.

A sink is given groups of results, each an event of one job, at least once and in order for a
job. So it must be idempotent: the same result again changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypeAlias

from ittybatch.errors import IttybatchError
from ittybatch.profiles import Item

Event: TypeAlias = Literal["accepted", "ended"]
Status: TypeAlias = Literal["processing", "succeeded", "failed", "cancelled", "expired"]

# A sink begins nothing of a group after this many seconds; the rest comes with the next group. It
# is less than the lease, so that a process that was paused for longer writes little that is old.
GROUP_S: Final = 10.0
ACCEPTED: Event = "accepted"
ENDED: Event = "ended"


@dataclass(frozen=True, slots=True)
class Result:
    """One event of one job, for one request.

    A job that several requests asked for is reported once for each, with the metadata of that
    request. A job that was given up and succeeds later ends twice: the later result is right.

    Args:
        outbox_id: Identifies the event; it is the same each time the event is delivered.
        event: Whether Ittybit accepted the job, or the job ended.
        job_id: The ledger's id of the job.
        task_id: Ittybit's id of the job; None if Ittybit never had it.
        batch_id: The batch of the job.
        batch_name: The name of that batch.
        profile: The name of the batch's profile.
        rendition: The rendition of the profile.
        kind: Ittybit's kind.
        status: `processing` for an accepted job, otherwise how it ended.
        input_url: The source: `s3://bucket/key`, or an http(s) URL as it was given. A URL may
            contain a signature; `input_shown` does not.
        destination: Where the output was asked to be written; None if Ittybit chose.
        output_url: The URL of the first output; None unless it succeeded.
        output_format: Its format, such as `mp4`.
        width: Its width in pixels.
        height: Its height in pixels.
        duration_s: Its duration in seconds.
        size_bytes: Its size in bytes.
        error_kind: The error's name; None unless it failed.
        error: The error's message.
        attempts: How many submissions it took.
        metadata: The request's or the manifest row's own metadata.
        created_at: When the event was recorded.
        submitted_at: When Ittybit accepted the job; None if it never did.
        completed_at: When the job ended; None for an accepted job.
        raw: Ittybit's own job object, if the sink wants it and the ledger has it.
        requested: Whether a request or an event asked for the job, and not a scan.
        first_task_id: Ittybit's id of the job's first submission, which the request was answered
            with. A retry has another `task_id`.
        tries: How often the event was delivered or refused before.
    """

    outbox_id: int
    event: Event
    job_id: int
    task_id: str | None
    batch_id: str
    batch_name: str
    profile: str
    rendition: str
    kind: str
    status: Status
    input_url: str
    destination: str | None
    output_url: str | None
    output_format: str | None
    width: int | None
    height: int | None
    duration_s: float | None
    size_bytes: int | None
    error_kind: str | None
    error: str | None
    attempts: int
    metadata: Mapping[str, Any]
    created_at: datetime
    submitted_at: datetime | None
    completed_at: datetime | None
    raw: Mapping[str, Any] | None = None
    requested: bool = False
    first_task_id: str | None = None
    tries: int = 0

    @property
    def bucket(self) -> str:
        """The bucket of an S3 object, or the host of a URL."""
        return Item(self.input_url).bucket

    @property
    def key(self) -> str:
        """The key of an S3 object, or the path of a URL without its leading slash."""
        return Item(self.input_url).key

    @property
    def input_shown(self) -> str:
        """The source for messages and logs, without a URL's password and query."""
        return Item(self.input_url).shown


class SinkUnavailable(IttybatchError):
    """The whole sink cannot be used now. Nothing is lost: the group is delivered again later."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a sink did with one result.

    Args:
        outbox_id: The result.
        error: None if it was delivered. Otherwise why the sink refuses it for good; trying
            again would not help before a person has changed something.
    """

    outbox_id: int
    error: str | None = None


class SinkPort(Protocol):
    """A place that results are delivered to. One thread uses it at a time."""

    @property
    def name(self) -> str:
        """Its name in `results.yaml`."""

    @property
    def wants_raw(self) -> bool:
        """Whether results must carry `raw`, which costs another query and more memory."""

    def deliver(self, results: Sequence[Result]) -> Sequence[Outcome]:
        """Deliver a group of up to 500 results, in this order for each job.

        Args:
            results: Results in the order of their ids.

        Returns:
            One outcome for each result. A result without one is delivered again some seconds
            later, together with later results of its job.

        Raises:
            SinkUnavailable: The sink cannot be reached, is overloaded, or refuses everything.
        """

    def check(self) -> str | None:
        """Say what is wrong with the sink; None if it can be used. For `ittybatch doctor`."""

    def close(self) -> None:
        """Close connections. It may be used again afterwards."""
