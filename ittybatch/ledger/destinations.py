"""Destinations: two items never write to the same one, and no batch replaces its own items."""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.lookups import Occupant
from ittybatch.ledger.models import Chunk, Item
from ittybatch.profiles import Item as SourceItem
from ittybatch.profiles import JobSpec
from ittybatch.profiles.item import S3_SCHEME


class Destinations:
    """The destinations of a page's jobs, and which jobs occupy them already.

    Args:
        batch: The batch that is being planned; None for a dry run.
        occupants: The jobs that write to the page's destinations already, and the items that are
            there.
        versions: Whether the batch may make several versions of an object, the newest one last.
    """

    def __init__(
        self, batch: str | None, occupants: Iterable[Occupant], *, versions: bool = False
    ) -> None:
        self._batch = batch
        self._versions = versions
        self._occupants: dict[str, list[Occupant]] = {}
        for each in occupants:
            self._occupants.setdefault(each.destination, []).append(each)

    def take(self, item: SourceItem, job: JobSpec) -> Occupant | None:
        """Reserve a job's destination.

        Returns:
            The occupant that has it already, if it belongs to another item.
        """
        if job.destination is None:
            return None
        present = self._occupants.setdefault(job.destination, [])
        # Where outputs are listed, too, the original may be the item's own output.
        own = any(each.batch != self._batch and self._may_replace(item, each) for each in present)
        for each in present:
            if own and each.batch == self._batch and each.uri == each.destination:
                continue
            if not self._may_replace(item, each):
                return each
        present.append(
            Occupant(job.destination, self._batch, item.uri, item.fingerprint, item.line)
        )
        return None

    def replacing(self, uri: str) -> Occupant | None:
        """Return a job of the same batch that writes to where an item is; None if there is none.

        Another batch may have made the item from the same object: then it may be replaced.
        """
        present = self._occupants.get(uri, ())
        made_by = {each.uri for each in present if each.batch != self._batch}
        for each in present:
            if each.batch == self._batch and each.uri not in {uri, *made_by}:
                return each
        return None

    def _may_replace(self, item: SourceItem, other: Occupant) -> bool:
        """Whether `other` is an earlier version of the item, so that its output may be replaced."""
        if other.batch == self._batch:
            # A batch makes one output of an object, unless versions of it arrive one by one.
            return (
                self._versions and item.uri == other.uri and item.fingerprint != other.fingerprint
            )
        if item.uri == other.uri:
            return True
        if item.uri.startswith(S3_SCHEME) or item.fingerprint is other.fingerprint is None:
            return False
        # If the item has a fingerprint, its URL's query counts as a signature, as in a job's key.
        return item.uri.partition("?")[0] == other.uri.partition("?")[0]


_KEPT = (
    "Neither is replaced, and nothing was paid for it. Give the destination a folder or a bucket "
    "of its own."
)


def in_danger(item: SourceItem, other: Occupant) -> str:
    """The message for an item that the output of an earlier job of its batch would replace."""
    return (
        f"{item.shown} would be replaced by the output of {_named(other)} in the same batch, so "
        f"the job of that output is not sent. {_KEPT}"
    )


def _named(other: Occupant) -> str:
    line = "" if other.line is None else f" (line {other.line})"
    return f"{SourceItem(other.uri).shown}{line}"


def chunks_of(transaction: Transaction, batch: str) -> list[int]:
    """The ids of a batch's chunks, in order."""
    query = select(Chunk.id).where(Chunk.batch_id == batch).order_by(Chunk.id)
    return [row.id for row in transaction.rows(query)]


def listed_items(transaction: Transaction, chunks: Collection[int]) -> list[tuple[str, int | None]]:
    """Read the URIs and lines of the items of some chunks, not of too many at once."""
    query = select(Item.uri, Item.line).where(Item.chunk_id.in_(chunks))
    return [(row.uri, row.line) for row in transaction.rows(query)]


def refusal(item: SourceItem, jobs: Sequence[tuple[JobSpec, Occupant]], batch: str | None) -> str:
    """The message for jobs that are not made because another item has their destination.

    Args:
        item: The item.
        jobs: Its refused jobs, at least one, each with the occupant of its destination.
        batch: The batch that is being planned; None for a dry run.
    """
    job, other = jobs[0]
    names = ", ".join(job.rendition for job, _ in jobs)
    if other.uri == job.destination and other.batch == batch:
        return (
            f"{item.shown}: no job was made for {names}, because the output would replace "
            f"{_named(other)}, which is an item of the same batch. {_KEPT}"
        )
    owner = "another output of the same item"
    remedy = (
        "Put {item} into the destination, which differs for every source, or rename one source."
    )
    if other.uri == item.uri and other.fingerprint != item.fingerprint:
        owner = "the output of the same source with another fingerprint"
        remedy = "List each source once, with one fingerprint or without one."
    elif other.uri != item.uri:
        owner = f"the output of {SourceItem(other.uri).shown}"
    if other.line is not None:
        owner += f" (line {other.line})"
    if other.batch is not None:
        owner += f" in batch {other.batch}"
    return (
        f"{item.shown}: no job was made for {names}, because {job.destination} is the destination "
        f"of {owner}, and one would replace the other. Nothing was paid for it. "
        f"{remedy}"
    )
