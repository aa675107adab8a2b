"""What every source yields: pages of items, each with the place to go on from."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ittybatch.profiles import Item


@dataclass(frozen=True, slots=True)
class Reject:
    """A row or an object that cannot become an item; it stops nothing.

    Args:
        line: Line of the manifest where it begins, counted from 1; None in a listing.
        field: Column, or property of the object, that is wrong.
        reason: What is wrong with it.
        row_excerpt: Its beginning, without signatures and passwords.
    """

    line: int | None
    field: str
    reason: str
    row_excerpt: str


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of a source.

    Args:
        items: Items in the source's order.
        rejects: What could not become an item.
        filtered: How many were left out, by the rule that left them out.
        cursor: Hand it to `read_pages` to go on right after this page.
        acknowledge: To be called once the page is committed, and never before; None where the
            source need not be told.
    """

    items: list[Item]
    rejects: list[Reject]
    filtered: dict[str, int] = field(default_factory=dict)
    cursor: str = ""
    acknowledge: Callable[[], None] | None = None
