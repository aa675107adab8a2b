"""Find a job at Ittybit by its input and metadata, if its id is unknown."""

from collections.abc import Sequence
from dataclasses import dataclass

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ittybit.job import JobStatus
from ittybatch.ittybit.marks import Mark
from ittybatch.ledger import Ledger
from ittybatch.ledger.adoption import unknown_tasks
from ittybatch.profiles import Item

_MADE_ELSEWHERE = "Another ledger has already sent the same job"
_PREFERRED = (JobStatus.SUCCEEDED, JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class MarkedJob:
    """A job at Ittybit that ittybatch submitted, from this or another ledger."""

    mark: Mark
    job: RemoteJob

    @property
    def billed(self) -> bool:
        """Whether the job has succeeded, or is running and may still succeed."""
        return self.job.status in {JobStatus.SUCCEEDED, JobStatus.RUNNING}


class MadeElsewhere(IttybatchError):
    """Another ledger has submitted the same job."""

    def __init__(self, batch: str, other: MarkedJob) -> None:
        source = Item(other.job.input).shown if other.job.input else "the same input"
        super().__init__(
            f"{_MADE_ELSEWHERE} to this Ittybit project: {other.job.id} of its batch "
            f"{other.mark.batch_id}, for {source}; it is {other.job.status}. Making it again would "
            "be billed again, so this batch is held.",
            remedy=f"`ittybatch adopt {batch}` records the existing jobs as this batch's, "
            f"and `ittybatch resume {batch}` then sends the rest. If DATABASE_URL names the wrong "
            "ledger, correct it instead.",
        )


def is_made_elsewhere(reason: str | None) -> bool:
    """Whether this is why a batch is held: another ledger has submitted the same job."""
    return (reason or "").startswith(_MADE_ELSEWHERE)


async def find_own(client: IttybitClient, mark: Mark, kind: str, uri: str) -> RemoteJob | None:
    """Find the job of one attempt.

    Args:
        client: Client of Ittybit's API.
        mark: The mark of the attempt.
        kind: The job's kind.
        uri: The job's input.
    """
    async for job in client.list_jobs(kind=kind, input=uri):
        if Mark.read(job.metadata) == mark:
            return job
    return None


async def find_all(client: IttybitClient, uri: str) -> list[MarkedJob]:
    """Find all jobs of an input that ittybatch submitted for any ledger, newest first."""
    return [
        MarkedJob(mark, job)
        async for job in client.list_jobs(input=uri)
        if (mark := Mark.read(job.metadata)) is not None
    ]


def made_elsewhere(ledger: Ledger, found: Sequence[MarkedJob], job_key: str) -> MarkedJob | None:
    """Find the same job among those that other ledgers submitted.

    Args:
        ledger: This ledger. Jobs that it has recorded are its own.
        found: Jobs of one input, newest first.
        job_key: Key of the job.

    Returns:
        A job that has succeeded, else one that is running, else failed, else cancelled; the
        newest of several; None if no other ledger submitted it.
    """
    same = [each for each in found if each.mark.job_key == job_key]
    if not same:
        return None
    unknown = ledger.read(unknown_tasks, {each.job.id: each.mark for each in same})
    others = [each for each in same if each.job.id in unknown]
    return min(others, key=lambda each: _PREFERRED.index(each.job.status), default=None)
