"""Destinations: two items never write one, whichever batch they belong to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import and_, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Chunk, Item, Job
from ittybatch.profiles import Item as SourceItem
from ittybatch.profiles import JobSpec
from ittybatch.profiles.item import S3_SCHEME

_AT_ONCE = 5000
# A job that failed or was cancelled has written nothing.
_FOUND = """
jobs.destination = given.value AND jobs.destination IS NOT NULL
AND (
    jobs.state = 'succeeded'
    OR jobs.claim IS NOT NULL AND jobs.state NOT IN ('failed', 'cancelled')
)
"""
_SQLITE_FOUND = (
    f"SELECT json_group_array(jobs.id) FROM json_each(?) AS given CROSS JOIN jobs ON {_FOUND}"  # noqa: S608
)
# The planner expects many jobs of a destination, and would read them all: OFFSET 0 has it look
# for one destination after the other.
_POSTGRES_FOUND = f"""
SELECT json_agg(found.id) FROM json_array_elements_text(%s::json) AS given(value),
LATERAL (SELECT jobs.id FROM jobs WHERE {_FOUND} OFFSET 0) AS found
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Occupant:
    """A job that writes to a destination, or has written there.

    Args:
        destination: Where.
        batch: Its batch; None in a dry run for a job of that dry run.
        uri: URI of its item.
        fingerprint: Fingerprint of its item.
        line: Line of the manifest that named its item.
    """

    destination: str
    batch: str | None
    uri: str
    fingerprint: str | None
    line: int | None


def occupants_of(transaction: Transaction, destinations: Sequence[str]) -> list[Occupant]:
    """Find the jobs of any batch that write to these destinations, or have written there."""
    text = _POSTGRES_FOUND if transaction.postgres else _SQLITE_FOUND
    given = orjson.dumps(destinations).decode()
    found = transaction.connection.exec_driver_sql(text, (given,)).scalar_one()
    jobs: list[int] = orjson.loads(found) if isinstance(found, str) else found or []
    return [
        Occupant(*row)
        for start in range(0, len(jobs), _AT_ONCE)
        for row in transaction.rows(
            select(Job.destination, Chunk.batch_id, Item.uri, Item.fingerprint, Item.line)
            .join(Chunk, Chunk.id == Job.chunk_id)
            .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
            .where(Job.id.in_(jobs[start : start + _AT_ONCE]))
            .order_by(Job.id)
        )
    ]


class Destinations:
    """Where the jobs of a page write, and who writes there already.

    Args:
        batch: The batch that is being planned; None for a dry run.
        occupants: Who writes to the page's destinations already.
    """

    def __init__(self, batch: str | None, occupants: Iterable[Occupant]) -> None:
        self._batch = batch
        self._occupants: dict[str, list[Occupant]] = {}
        for each in occupants:
            self._occupants.setdefault(each.destination, []).append(each)

    def take(self, item: SourceItem, job: JobSpec) -> Occupant | None:
        """Take a job's destination for it.

        Returns:
            The occupant that has it already, if that is of another item.
        """
        if job.destination is None:
            return None
        there = self._occupants.setdefault(job.destination, [])
        for each in there:
            if not self._may_replace(item, each):
                return each
        there.append(Occupant(job.destination, self._batch, item.uri, item.fingerprint, item.line))
        return None

    def _may_replace(self, item: SourceItem, other: Occupant) -> bool:
        """Whether an item replaces the output of an earlier state of itself."""
        if other.batch == self._batch:
            # One batch makes one output of an object, but a queue may bring two versions of it.
            return item.uri == other.uri and item.fingerprint != other.fingerprint
        if item.uri == other.uri:
            return True
        if item.uri.startswith(S3_SCHEME) or item.fingerprint is other.fingerprint is None:
            return False
        # With a fingerprint, a URL's query is taken for a signature, as in the key of a job.
        return item.uri.partition("?")[0] == other.uri.partition("?")[0]


def refusal(item: SourceItem, jobs: Sequence[tuple[JobSpec, Occupant]]) -> str:
    """Say why jobs of an item are not made: another item has their destinations.

    Args:
        item: The item.
        jobs: Its refused jobs, at least one, each with the occupant of its destination.
    """
    job, other = jobs[0]
    names = ", ".join(job.rendition for job, _ in jobs)
    owner = "another output of the same item"
    if other.uri != item.uri:
        owner = f"the output of {SourceItem(other.uri).shown}"
    if other.line is not None:
        owner += f" (line {other.line})"
    if other.batch is not None:
        owner += f" in batch {other.batch}"
    return (
        f"{item.shown}: no job was made for {names}, because {job.destination} is the destination "
        f"of {owner}, and one would replace the other. Nothing was paid for it. "
        "Put {item} into the destination, which tells all sources apart, or rename one source."
    )
