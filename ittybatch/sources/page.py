"""What every source yields: pages of items, each with a cursor to resume after it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ittybatch.errors import IttybatchError
from ittybatch.profiles import Item

# How many rejects may come before the first usable row.
MAX_REJECTS_FIRST = 5000
_CURSOR_VERSION = 1


class SourceError(IttybatchError):
    """A source cannot be read, or not to its end. Pages that were read before remain valid."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row or an object that cannot become an item. The rest of the source is still read.

    Args:
        line: Line of the manifest where it begins, counted from 1; None in a listing.
        field: The column, or the property of the object, that is wrong.
        reason: What is wrong with it.
        row_excerpt: The beginning of the row, without signatures and passwords.
    """

    line: int | None
    field: str
    reason: str
    row_excerpt: str


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a source.

    Args:
        items: Items in the source's order.
        rejects: Rows and objects that could not become items.
        filtered: How many rows or objects each rule left out, by the rule's name.
        cursor: Pass it to `read_pages` to resume right after this page.
        acknowledge: Call it after the page is committed, never before; None if the source
            needs no acknowledgement.
    """

    items: list[Item]
    rejects: list[Reject]
    filtered: dict[str, int] = field(default_factory=dict)
    cursor: str = ""
    acknowledge: Callable[[], None] | None = None


class PageBuilder:
    """Collects items and rejects until they fill a page.

    Args:
        page_size: Items and rejects in a full page; 0 if the caller decides when it is full.
        empty_rule: The rule that counts empty rows.
    """

    def __init__(self, page_size: int = 0, *, empty_rule: str = "empty line") -> None:
        self._page_size = page_size
        self._empty_rule = empty_rule
        self._items: list[Item] = []
        self._rejects: list[Reject] = []
        self._filtered: Counter[str] = Counter()

    @property
    def free(self) -> int:
        """How many more rows fit into the page."""
        return self._page_size - len(self._items) - len(self._rejects)

    def __bool__(self) -> bool:
        return bool(self._items or self._rejects or self._filtered)

    def add(self, found: Item | Reject | None) -> None:
        """Add what a row became: an item, a reject, or None for an empty row."""
        if isinstance(found, Item):
            self._items.append(found)
        elif found is None:
            self._filtered[self._empty_rule] += 1
        else:
            self._rejects.append(found)

    def extend(
        self, items: Sequence[Item], rejects: Sequence[Reject], filtered: Mapping[str, int]
    ) -> None:
        """Add several items and rejects, and the counts of each rule."""
        self._items += items
        self._rejects += rejects
        self._filtered.update(filtered)

    def filter(self, rule: str, count: int = 1) -> None:
        """Count rows that a rule leaves out."""
        if count:
            self._filtered[rule] += count

    def build(self, cursor: str) -> Page:
        """Return everything collected so far as a page, and start the next one."""
        page = Page(self._items, self._rejects, dict(self._filtered), cursor)
        self._items, self._rejects, self._filtered = [], [], Counter()
        return page


def write_cursor(source_type: str, source_uri: str, place: dict[str, Any]) -> str:
    """Write a position in a source as text.

    Args:
        source_type: `type` of the source.
        source_uri: URI of the source, so that a cursor is not used with another source.
        place: The position, as JSON values.
    """
    content = {"version": _CURSOR_VERSION, "type": source_type, "uri": source_uri, "place": place}
    return orjson.dumps(content).decode()


def read_cursor(cursor: str, source_type: str, source_uri: str, *earlier: str) -> dict[str, Any]:
    """Read the position that `write_cursor` wrote.

    Args:
        cursor: The position as text.
        source_type: `type` of the source.
        source_uri: URI of the source.
        earlier: What earlier versions wrote as the URI of the same source.

    Raises:
        SourceError: The text is not a cursor, or belongs to another source.
    """
    try:
        content = orjson.loads(cursor)
        found, uri = (content["version"], content["type"]), content["uri"]
        place = content["place"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise unusable_cursor(source_uri, "it is damaged") from error
    is_same = found == (_CURSOR_VERSION, source_type) and uri in {source_uri, *earlier}
    if not is_same or not isinstance(place, dict):
        raise unusable_cursor(source_uri, "it belongs to another source")
    return place


def unusable_cursor(source_uri: str, why: str) -> SourceError:
    """Make the error for a cursor that a source cannot resume from."""
    return SourceError(
        f"{source_uri} cannot be resumed from the saved position: {why}.",
        remedy="Start a new batch of the source; finished jobs are not repeated.",
    )


def refuse_unreadable(
    pages: Iterator[Page], unusable: Callable[[str], SourceError]
) -> Iterator[Page]:
    """Hold back a source's pages until one of them has an item.

    Every row of a web server's error page, or of a file of another kind, is a reject. A batch
    must not treat it as a source that was read, nor keep and show its lines.

    Args:
        pages: The source's pages, from its beginning.
        unusable: Makes an error from a reason.

    Raises:
        SourceError: The source has rejects and no item, or no item among its first
            `MAX_REJECTS_FIRST` rows.
    """
    held: list[Page] = []
    rejects = 0
    for page in pages:
        held.append(page)
        if page.items:
            yield from held
            yield from pages
            return
        rejects += len(page.rejects)
        if rejects >= MAX_REJECTS_FIRST:
            raise unusable(f"none of its first {rejects:,} rows can be read{_first(held)}")
    if rejects:
        count = f"none of its {rejects:,} rows can" if rejects > 1 else "its only row cannot"
        raise unusable(f"{count} be read{_first(held)}")
    yield from held


def _first(pages: list[Page]) -> str:
    reject = next(reject for page in pages for reject in page.rejects)
    where = f"line {reject.line}, " if reject.line is not None else ""
    return f" (the first: {where}{reject.field}: {reject.reason})"
