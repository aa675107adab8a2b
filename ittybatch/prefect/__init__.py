"""For people who write flows: blocks for credentials, jobs and batches, and a wait that is free.

    from prefect import flow
    from ittybatch.prefect import IttybitJob, wait_suspended

    @flow
    def publish(url: str):
        job = IttybitJob(input=url, profile="web").trigger()
        result = wait_suspended(job)  # no process until the webhook has come
        print(result.output_urls)

Prefect imports this module when a server, a worker or a look-up of a block starts, so it imports
nothing of ittybatch but what the blocks are made of.
"""

from ittybatch.prefect.batch import IttybitBatch, IttybitBatchRun
from ittybatch.prefect.credentials import IttybitCredentials
from ittybatch.prefect.job import IttybitJob, IttybitJobRun, JobsResult
from ittybatch.prefect.waiting import await_suspended, wait_suspended

BLOCKS = (IttybitCredentials, IttybitJob, IttybitBatch)

__all__ = [
    "BLOCKS",
    "IttybitBatch",
    "IttybitBatchRun",
    "IttybitCredentials",
    "IttybitJob",
    "IttybitJobRun",
    "JobsResult",
    "await_suspended",
    "wait_suspended",
]
