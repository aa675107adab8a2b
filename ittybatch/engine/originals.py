"""Find outputs that would replace an item of the same batch, whatever the order of the two.

The rows of a manifest or a query may name `in/a.mov` and `in/a.mp4`. Their outputs may go beside
them, and then the output of the first is written over the second.

Almost no batch can have such a pair: its outputs have another suffix or another folder than its
items. So planning compares the beginnings and ends of addresses. Every listed item is kept in a
temporary SQLite database, also one without a job: a page at a time and without an index, until
items and outputs share a beginning and an end.

A leg that continues a plan reads the rows before its cursor from the source again, and the items
in the ledger if the source is a query: a row that was planned may have left its result since.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import orjson

from ittybatch.ledger.lookups import Occupant
from ittybatch.ledger.plan import PlannedPage
from ittybatch.profiles import Item
from ittybatch.profiles.item import S3_SCHEME

Listed = Sequence[tuple[str, int | None]]
# Reads the URIs and lines of the items that earlier legs have listed, some at a time.
Earlier = Callable[[], Iterable[Listed]]

# `s3://media-m` and `.mp4`: cheap to compare, and few of them in a batch.
_FIRST, _LAST = 12, 4
# With more places than this, every item is looked up.
_MOST_PLACES = 10_000
_TABLES = """
CREATE TABLE pages (number INTEGER PRIMARY KEY, items BLOB);
CREATE TABLE items (uri TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID;
"""
_FIND = """
SELECT items.uri, items.line
FROM json_each(?) AS given CROSS JOIN items ON items.uri = given.value
"""


class Originals:
    """The items of a batch that one of its outputs may replace.

    Args:
        batch: The batch; None for a dry run.
        earlier: Reads the items of earlier legs; None if this is the first leg, or a dry run.

    Raises:
        SourceError: The source cannot be read again, from `compared`.
    """

    def __init__(self, batch: str | None, earlier: Earlier | None = None) -> None:
        self._batch = batch
        self._earlier = earlier
        self._of_items: set[str] = set()
        self._of_outputs: set[str] = set()
        self._shared: set[str] = set()
        # The places of an earlier leg's outputs are unknown.
        self._everywhere = earlier is not None
        self._indexed = False
        # A thread reads pages ahead. Only one thread uses it at a time.
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._file.executescript(_TABLES)

    def close(self) -> None:
        """Delete the temporary database."""
        self._file.close()

    def compared(self, page: PlannedPage, listed: Sequence[Item]) -> PlannedPage:
        """Return a page with the items that its outputs would replace, and those in danger.

        Args:
            page: The page.
            listed: All items that the source has on this page, also those without jobs.
        """
        outputs = [job.destination for each in page.items for job in each.jobs if job.destination]
        items = [(item.uri, item.line) for item in listed if item.uri.startswith(S3_SCHEME)]
        if not self._everywhere:
            self._of_outputs.update({uri[:_FIRST] + uri[-_LAST:] for uri in outputs})
            self._of_items.update({uri[:_FIRST] + uri[-_LAST:] for uri, _ in items})
            self._shared = self._of_items & self._of_outputs
            most = max(len(self._of_items), len(self._of_outputs))
            self._everywhere = most > _MOST_PLACES
        if not self._shared and not self._everywhere:
            self._file.execute("INSERT INTO pages (items) VALUES (?)", (orjson.dumps(items),))
            return page
        self._index()
        self._remember(items)
        endangered = dict(each for each in items if self._is_shared(each[0]))
        return replace(
            page, originals=self._replaced_by(outputs), endangered=list(endangered.items())
        )

    def _index(self) -> None:
        """Index the items of earlier pages, once."""
        if self._indexed:
            return
        self._indexed = True
        for (content,) in self._file.execute("SELECT items FROM pages ORDER BY number"):
            self._remember(orjson.loads(content))
        self._file.execute("DELETE FROM pages")

    def _is_shared(self, uri: str) -> bool:
        return self._everywhere or uri[:_FIRST] + uri[-_LAST:] in self._shared

    def _remember(self, items: Listed) -> None:
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR IGNORE INTO items VALUES (?, ?)", items)
        self._file.execute("COMMIT")

    def _replaced_by(self, outputs: Sequence[str]) -> list[Occupant]:
        wanted = list(dict.fromkeys(uri for uri in outputs if self._is_shared(uri)))
        if not wanted:
            return []
        if self._earlier is not None:
            for some in self._earlier():
                self._remember(some)
            self._earlier = None
        found = self._file.execute(_FIND, (orjson.dumps(wanted).decode(),))
        return [Occupant(uri, self._batch, uri, None, line) for uri, line in found]
