"""What became of a request: its jobs, as far as they are known when it is answered."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TakenJob:
    """One job of a request.

    Args:
        job_id: The ledger's id of the job.
        task_id: Ittybit's id; None while Ittybit has not accepted it.
        rendition: Name of the rendition; the kind if the request asked for the kind.
        kind: Kind of job.
        status: processing, succeeded, failed, cancelled, expired or held. Held: its batch sends
            nothing until an operator resumes it.
        output_url: URL of the output, once it has succeeded.
        error: Why it failed, if it did.
        created: Whether this request made it; otherwise an earlier one did.
    """

    job_id: str
    task_id: str | None
    rendition: str
    kind: str
    status: str
    output_url: str | None
    error: str | None
    created: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """A request that the ledger holds.

    Args:
        batch_id: The batch of its first job.
        jobs: Its jobs, in the order of the profile's renditions or of the request's tasks.
    """

    batch_id: str
    jobs: Sequence[TakenJob]
