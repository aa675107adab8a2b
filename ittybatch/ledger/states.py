"""The states that rows of the ledger go through."""

from enum import StrEnum


class JobState(StrEnum):
    """The state of a job.

    `planned -> submitting -> submitted -> succeeded | failed | cancelled | expired`; a
    retryable failure goes back to `planned`.
    """

    PLANNED = "planned"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        """Whether the job has ended; an expired one may still become succeeded."""
        return self not in OPEN_JOBS

    @property
    def in_flight(self) -> bool:
        """Whether Ittybit has the job, or may have it."""
        return self in IN_FLIGHT_JOBS


IN_FLIGHT_JOBS = frozenset({JobState.SUBMITTING, JobState.SUBMITTED})
OPEN_JOBS = IN_FLIGHT_JOBS | {JobState.PLANNED}


class AttemptState(StrEnum):
    """The state of one submission of a job."""

    SENDING = "sending"
    ACCEPTED = "accepted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """Whether this attempt's outcome is known, or the attempt was given up."""
        return self not in {AttemptState.SENDING, AttemptState.ACCEPTED}


class ChunkState(StrEnum):
    """The state of a chunk."""

    PLANNED = "planned"
    RELEASED = "released"
    DONE = "done"


class BatchState(StrEnum):
    """The state of a batch."""

    PLANNING = "planning"
    UNAPPROVED = "unapproved"
    RUNNING = "running"
    HELD = "held"
    SUCCEEDED = "succeeded"
    SOME_FAILED = "some_failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will be submitted for the batch."""
        return self in ENDED_BATCHES


ENDED_BATCHES = frozenset({BatchState.SUCCEEDED, BatchState.SOME_FAILED, BatchState.CANCELLED})

# Another batch may take over the planned jobs of a batch in one of these states.
WILL_NOT_SEND = ENDED_BATCHES | {BatchState.HELD, BatchState.UNAPPROVED}


class RunState(StrEnum):
    """The state of the flow run of a batch or a chunk, as far as the ledger knows."""

    STARTING = "starting"
    AWAKE = "awake"
    WAITING = "waiting"
    SUSPENDED = "suspended"
    ENDED = "ended"


class Verdict(StrEnum):
    """The effect of a delivery."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    LATE = "late"
    PROGRESS = "progress"
    UNKNOWN = "unknown"
    MALFORMED = "malformed"
