"""Many silent jobs asked after at once, through Ittybit's list of jobs.

A page of the list tells of a hundred jobs for the price of one question. The list holds
everybody's jobs, so it is read only around our own, and no further than it is worth it.
"""

from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Literal

from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.errors import IttybitError
from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ittybit.job import JobStatus
from ittybatch.ledger.overdue import OverdueJob

# Below it, single questions are as cheap, and are all asked at once.
_FEWEST = 10
_PAGE_SIZE = 100
# A page that tells of fewer than this costs more than it saves.
_LEAST_A_PAGE = 5


async def listed_jobs(client: IttybitClient, jobs: Sequence[OverdueJob]) -> Mapping[str, RemoteJob]:
    """Find jobs in Ittybit's list, as many as are found there cheaply.

    Args:
        client: The API.
        jobs: The silent jobs. Those whose submission was never answered are left out.

    Returns:
        Jobs by Ittybit's id. Those that are missing are to be asked after one by one: they
        may be elsewhere in the list, or it may be in trouble.
    """
    missing = {job.task_id for job in jobs if job.task_id is not None}
    found: dict[str, RemoteJob] = {}
    orders: tuple[Literal["desc", "asc"], ...] = ("desc", "asc")
    if len(missing) >= _FEWEST:
        # Jobs that were sent together are neighbours in the list, on both sides of each other.
        one = missing.pop()
        # What is wrong with a list shows when they are asked after one by one.
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
    """Follow the list from one job on, for as long as its pages tell of missing ones."""
    before = len(found)
    pages = client.list_jobs(after=start, order=order, page_size=_PAGE_SIZE)
    async with aclosing(pages) as listing:
        read = 0
        async for job in listing:
            if job.id in missing and _told_whole(job):
                missing.remove(job.id)
                found[job.id] = job
            read += 1
            if not missing or (read == _PAGE_SIZE and len(found) < before + _LEAST_A_PAGE):
                return
            if read == _PAGE_SIZE:
                read, before = 0, len(found)


def _told_whole(job: RemoteJob) -> bool:
    """Whether an entry of the list says all that is recorded of an end."""
    if job.status is JobStatus.SUCCEEDED:
        return bool(job.outputs)
    return job.error is not None or not job.status.terminal
