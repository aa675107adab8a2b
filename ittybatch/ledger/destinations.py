"""Destinations: two items never write to the same one, in any batch."""

from collections.abc import Iterable, Sequence

from ittybatch.ledger.lookups import Occupant
from ittybatch.profiles import Item as SourceItem
from ittybatch.profiles import JobSpec
from ittybatch.profiles.item import S3_SCHEME


class Destinations:
    """The destinations of a page's jobs, and which jobs occupy them already.

    Args:
        batch: The batch that is being planned; None for a dry run.
        occupants: The jobs that write to the page's destinations already.
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
        for each in present:
            if not self._may_replace(item, each):
                return each
        present.append(
            Occupant(job.destination, self._batch, item.uri, item.fingerprint, item.line)
        )
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


def refusal(item: SourceItem, jobs: Sequence[tuple[JobSpec, Occupant]]) -> str:
    """The message for jobs that are not made because another item has their destination.

    Args:
        item: The item.
        jobs: Its refused jobs, at least one, each with the occupant of its destination.
    """
    job, other = jobs[0]
    names = ", ".join(job.rendition for job, _ in jobs)
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
