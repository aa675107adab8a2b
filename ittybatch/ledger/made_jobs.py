"""Jobs that exist already, as requests are answered with them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.lookups import fetch_jobs
from ittybatch.ledger.models import Batch, Chunk, Job
from ittybatch.ledger.states import BatchState, JobState

_IDS_PER_QUERY = 500
UNSUCCESSFUL = (JobState.FAILED.value, JobState.CANCELLED.value, JobState.EXPIRED.value)


class MadeJob(NamedTuple):
    """A job that exists, and the state of its batch."""

    id: int
    chunk_id: int
    job_key: str
    claim: bool | None
    state: str
    attempt: int
    rendition: str
    kind: str
    task_id: str | None
    output_url: str | None
    error_kind: str | None
    error_message: str | None
    user_metadata: str
    batch_id: str
    batch_state: str

    @property
    def status(self) -> str:
        """Its state in the words of the API."""
        return status_of(self.state, self.batch_state)

    @property
    def error(self) -> str | None:
        """Why it did not succeed, once it has ended."""
        return error_of(self.status, self.error_kind, self.error_message)


def status_of(state: str, batch_state: str) -> str:
    """A job's state in the words of the API.

    Args:
        state: The job's state.
        batch_state: That of its batch: an unsent job of a held batch is `held`.
    """
    known = JobState(state)
    if known.terminal:
        return known.value
    waits = known is JobState.PLANNED and batch_state == BatchState.HELD
    return "held" if waits else "processing"


def error_of(status: str, kind: str | None, message: str | None) -> str | None:
    """Why a job with this status failed; None if it did not, or will be tried again."""
    return (message or kind) if status in UNSUCCESSFUL else None


def jobs_made(transaction: Transaction, keys: Sequence[str]) -> list[MadeJob]:
    """Find every job with these keys, of any batch.

    Args:
        transaction: The transaction to look in.
        keys: Job keys, each once.
    """
    if not keys:
        return []
    return [MadeJob(*row) for row in fetch_jobs(transaction, keys, _columns)]


def lock_made(transaction: Transaction, keys: Sequence[str]) -> list[MadeJob]:
    """Find jobs like `jobs_made`, and lock those that are open until the transaction ends.

    An open job cannot end meanwhile, so a request that follows it is not forgotten.
    """
    found = jobs_made(transaction, keys)
    open_ones = sorted(job.id for job in found if not JobState(job.state).terminal)
    if not open_ones or not transaction.postgres:
        return found
    for start in range(0, len(open_ones), _IDS_PER_QUERY):
        some = open_ones[start : start + _IDS_PER_QUERY]
        transaction.rows(select(Job.id).where(Job.id.in_(some)).order_by(Job.id).with_for_update())
    return jobs_made(transaction, keys)


def read_made(transaction: Transaction, ids: Sequence[int]) -> list[MadeJob]:
    """Read jobs by their ids."""
    query = select(*_columns(Job)).join(Chunk, Chunk.id == Job.chunk_id)
    query = query.join(Batch, Batch.id == Chunk.batch_id)
    return [
        MadeJob(*row)
        for start in range(0, len(ids), _IDS_PER_QUERY)
        for row in transaction.rows(query.where(Job.id.in_(ids[start : start + _IDS_PER_QUERY])))
    ]


def _columns(jobs: Any) -> list[Any]:  # noqa: ANN401  the columns of jobs, or of a subquery
    return [
        *(getattr(jobs, name) for name in MadeJob._fields[:-2]),
        Chunk.batch_id,
        Batch.state.label("batch_state"),
    ]
