"""Poll many silent jobs with few requests, through Ittybit's list of jobs.

One request returns a page of a hundred jobs. The list contains the jobs of all batches and ledgers,
so this module reads only the pages around our jobs, and stops when a page has too few of them.
"""

from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Literal

from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.errors import IttybitError
from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ittybit.job import JobStatus
from ittybatch.ledger.overdue import OverdueJob

# For fewer jobs, single requests are as cheap, and they run concurrently.
_MIN_JOBS = 10
_PAGE_SIZE = 100
# A page with fewer of our jobs costs more than it saves.
_MIN_PER_PAGE = 5


async def listed_jobs(client: IttybitClient, jobs: Sequence[OverdueJob]) -> Mapping[str, RemoteJob]:
    """Find jobs in Ittybit's list, as far as that is cheaper than polling them one by one.

    Args:
        client: Client of Ittybit's API.
        jobs: The silent jobs. Jobs whose submission was never answered are ignored.

    Returns:
        The jobs found, by Ittybit's id. Poll the others one by one: they may be elsewhere in the
        list, or the request for the list failed.
    """
    missing = {job.task_id for job in jobs if job.task_id is not None}
    found: dict[str, RemoteJob] = {}
    orders: tuple[Literal["desc", "asc"], ...] = ("desc", "asc")
    if len(missing) >= _MIN_JOBS:
        # Jobs that were sent together are neighbours in the list, so read it in both directions.
        one = missing.pop()
        # Ignore an error here: polling the jobs one by one meets it again.
        with suppress(IttybitError):
            for order in orders:
                await _walk(client, one, order, missing, found)
    return found


async def _walk(
    client: IttybitClient,
    start: str,
    order: Literal["asc", "desc"],
    missing: set[str],
    found: dict[str, RemoteJob],
) -> None:
    """Read the list from one job on, while its pages contain enough of the missing jobs."""
    before = len(found)
    pages = client.list_jobs(after=start, order=order, page_size=_PAGE_SIZE)
    async with aclosing(pages) as listing:
        read = 0
        async for job in listing:
            if job.id in missing and _is_complete(job):
                missing.remove(job.id)
                found[job.id] = job
            read += 1
            if not missing or (read == _PAGE_SIZE and len(found) < before + _MIN_PER_PAGE):
                return
            if read == _PAGE_SIZE:
                read, before = 0, len(found)


def _is_complete(job: RemoteJob) -> bool:
    """Whether an entry of the list contains everything the ledger records when a job ends."""
    if job.status is JobStatus.SUCCEEDED:
        return bool(job.outputs)
    return job.error is not None or not job.status.terminal
