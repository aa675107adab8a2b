"""Rows gathered into pages."""

from collections import Counter

from ittybatch.profiles import Item
from ittybatch.sources.page import Page, Reject


class Gathering:
    """What of a manifest has been read since the last page.

    Args:
        page_size: Rows a page, good and bad.
    """

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._items: list[Item] = []
        self._rejects: list[Reject] = []
        self._left_out: Counter[str] = Counter()

    @property
    def room(self) -> int:
        """How many rows the page still takes."""
        return self._page_size - len(self._items) - len(self._rejects)

    @property
    def any(self) -> bool:
        """Whether there is something to give a page of."""
        return bool(self._items or self._rejects or self._left_out)

    def add(self, found: Item | Reject | None) -> None:
        """Take what a row has become; None for an empty one."""
        if isinstance(found, Item):
            self._items.append(found)
        elif found is None:
            self._left_out["empty line"] += 1
        else:
            self._rejects.append(found)

    def leave_out(self, rule: str, count: int = 1) -> None:
        """Count rows that a rule leaves out."""
        if count:
            self._left_out[rule] += count

    def page(self, cursor: str) -> Page:
        """Give the rows so far as a page, and begin anew."""
        page = Page(self._items, self._rejects, dict(self._left_out), cursor)
        self._items, self._rejects, self._left_out = [], [], Counter()
        return page
