"""What was made of some requests: the jobs, with their items and results."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.made_jobs import error_of, status_of
from ittybatch.ledger.models import Batch, Chunk, Item, Job
from ittybatch.profiles import Item as SourceItem

MAX_JOBS = 2000
_IDS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class WatchedJob:
    """One job and what is known of its output.

    Args:
        id: The ledger's id.
        rendition: Name of the rendition.
        kind: Kind of job.
        status: Its state in the words of the API; `held` while its batch sends nothing.
        error: Why it did not succeed.
        output_url: Where the output is.
        size_bytes: Its size.
        duration_s: Its duration.
    """

    id: int
    rendition: str
    kind: str
    status: str
    error: str | None
    output_url: str | None
    size_bytes: int | None
    duration_s: float | None


@dataclass(slots=True)
class WatchedItem:
    """One item of a batch, and those of its jobs that were asked for."""

    batch_id: str
    batch_name: str
    chunk_id: int
    number: int
    uri: str
    jobs: list[WatchedJob]

    @property
    def alike(self) -> list[list[WatchedJob]]:
        """Its jobs: those that ended for the same reason together, each of the others alone."""
        found: dict[tuple[str, str | int], list[WatchedJob]] = {}
        for job in self.jobs:
            found.setdefault((job.status, job.error or job.id), []).append(job)
        return list(found.values())

    @property
    def name(self) -> str:
        """The file's name, without what makes the key of an upload unique."""
        item = SourceItem(self.uri)
        return item.uploaded_as or item.key.rpartition("/")[2] or self.uri


def watched_items(transaction: Transaction, jobs: Sequence[int]) -> list[WatchedItem]:
    """Read jobs by their ids, by item, in the order of the ids.

    Args:
        transaction: The transaction to look in.
        jobs: At most 2,000 ids; unknown ones are left out.
    """
    found: dict[tuple[int, int], WatchedItem] = {}
    ids = sorted(set(jobs))[:MAX_JOBS]
    for start in range(0, len(ids), _IDS_PER_QUERY):
        query = (
            select(
                Job.id,
                Job.rendition,
                Job.kind,
                Job.state,
                Job.error_kind,
                Job.error_message,
                Job.output_url,
                Job.output_size_bytes,
                Job.output_duration_s,
                Job.chunk_id,
                Job.item_number,
                Item.uri,
                Chunk.batch_id,
                Batch.name.label("batch_name"),
                Batch.state.label("batch_state"),
            )
            .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
            .join(Chunk, Chunk.id == Job.chunk_id)
            .join(Batch, Batch.id == Chunk.batch_id)
            .where(Job.id.in_(ids[start : start + _IDS_PER_QUERY]))
            .order_by(Job.id)
        )
        for row in transaction.rows(query):
            status = status_of(row.state, row.batch_state)
            item = found.setdefault(
                (row.chunk_id, row.item_number),
                WatchedItem(
                    row.batch_id, row.batch_name, row.chunk_id, row.item_number, row.uri, []
                ),
            )
            item.jobs.append(
                WatchedJob(
                    row.id,
                    row.rendition,
                    row.kind,
                    status,
                    error_of(status, row.error_kind, row.error_message),
                    row.output_url,
                    row.output_size_bytes,
                    row.output_duration_s,
                )
            )
    return list(found.values())
