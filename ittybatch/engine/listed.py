"""Poll many silent jobs at once through Ittybit's list of jobs.

A page of the list holds a hundred jobs for one request. The list holds the jobs of all batches and
ledgers, so only the pages around our own are read, and only while they hold enough of them.
"""

from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Literal

from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.errors import IttybitError
from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ittybit.job import JobStatus
from ittybatch.ledger.overdue import OverdueJob

# For fewer jobs, single requests are as cheap, and are sent at once.
_FEWEST = 10
_PAGE_SIZE = 100
# A page that holds fewer of our jobs costs more than it saves.
_LEAST_A_PAGE = 5


async def listed_jobs(client: IttybitClient, jobs: Sequence[OverdueJob]) -> Mapping[str, RemoteJob]:
    """Find jobs in Ittybit's list, as many as it gives cheaply.

    Args:
        client: The API.
        jobs: The silent jobs. Those whose submission was never answered are ignored.

    Returns:
        Jobs by Ittybit's id. Poll the missing ones one by one: they may be elsewhere in the
        list, or the list may have failed.
    """
    missing = {job.task_id for job in jobs if job.task_id is not None}
    found: dict[str, RemoteJob] = {}
    orders: tuple[Literal["desc", "asc"], ...] = ("desc", "asc")
    if len(missing) >= _FEWEST:
        # Jobs that were sent together are neighbours in the list, in both directions.
        one = missing.pop()
        # An error of the list shows again when the jobs are polled one by one.
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
    """Read the list from one job on, while its pages hold enough of the missing ones."""
    before = len(found)
    pages = client.list_jobs(after=start, order=order, page_size=_PAGE_SIZE)
    async with aclosing(pages) as listing:
        read = 0
        async for job in listing:
            if job.id in missing and _is_complete(job):
                missing.remove(job.id)
                found[job.id] = job
            read += 1
            if not missing or (read == _PAGE_SIZE and len(found) < before + _LEAST_A_PAGE):
                return
            if read == _PAGE_SIZE:
                read, before = 0, len(found)


def _is_complete(job: RemoteJob) -> bool:
    """Whether an entry of the list holds all that the ledger records of a job's end."""
    if job.status is JobStatus.SUCCEEDED:
        return bool(job.outputs)
    return job.error is not None or not job.status.terminal
