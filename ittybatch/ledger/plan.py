"""What a scan found, before it is written to the ledger."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ittybatch.ledger.lookups import Occupant
from ittybatch.profiles import Item, JobSpec


@dataclass(slots=True)
class PlannedItem:
    """A source object with the jobs that the profile makes of it."""

    item: Item
    jobs: Sequence[JobSpec]


@dataclass(frozen=True, slots=True)
class PlannedReject:
    """A row of the source that could not become an item."""

    line: int | None
    field: str | None
    reason: str
    row: str | None


@dataclass(frozen=True, slots=True)
class PlannedPage:
    """What one page of the source contained, with the cursor right after it.

    Args:
        items: The page's items, each with at least one job.
        rejects: Rows that could not become items.
        counts: Further counts of the page, by name.
        cursor: Where the next page begins.
        again: Ids of jobs that are made again although they are held back.
        remake: Make every finished job of the page again, succeeded ones included.
        versions: Whether the source may hold several versions of an object, the newest one last.
        originals: Items of the batch that jobs of the page would replace, as if each had been
            written at its own URI.
        endangered: URIs and lines of items that jobs on earlier pages may replace.
        acknowledge: Called once the page is committed; None if its source needs no acknowledgement.
    """

    items: Sequence[PlannedItem]
    rejects: Sequence[PlannedReject]
    counts: Mapping[str, int]
    cursor: str
    again: Sequence[int] = field(default=())
    remake: bool = False
    versions: bool = False
    originals: Sequence[Occupant] = ()
    endangered: Sequence[tuple[str, int | None]] = ()
    acknowledge: Callable[[], None] | None = None
