"""Find outputs that would replace an item of the same batch, whatever the order of the two.

The rows of a manifest or a query may name `in/a.mov` and `in/a.mp4`. Their outputs may go beside
them, and then the output of the first is written over the second.

Almost no batch can have such a pair: its outputs have another suffix or another folder than its
items. So planning compares the beginnings and ends of addresses. It remembers and looks up items
only where both are the same, in a temporary SQLite database, which needs no memory for them.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import orjson

from ittybatch.ledger.lookups import Occupant
from ittybatch.ledger.plan import PlannedPage
from ittybatch.profiles import Item
from ittybatch.profiles.item import S3_SCHEME

# Returns the URIs and lines of the items that are in the ledger, by the first characters of their
# URIs; of all items for None.
Earlier = Callable[[Collection[str] | None], Iterable[tuple[str, int | None]]]

# `s3://media-m` and `.mp4`: cheap to compare, and few of them in a batch.
_FIRST, _LAST = 12, 4
# With more places than this, every item is remembered.
_MOST_PLACES = 10_000
# While a page is read ahead, the page before may not be in the ledger yet.
_UNWRITTEN_PAGES = 2
_TABLE = "CREATE TABLE items (uri TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID"
_FIND = """
SELECT items.uri, items.line
FROM json_each(?) AS given CROSS JOIN items ON items.uri = given.value
"""


class Originals:
    """The items of a batch that one of its outputs may replace.

    Args:
        batch: The batch; None for a dry run.
        earlier: Reads items of the batch from the ledger, where planning continues or outputs go
            to another place than before. None for a dry run, which remembers every item.
        continues: Whether an earlier leg has planned some pages, so that their places are unknown.
    """

    def __init__(
        self, batch: str | None, earlier: Earlier | None, *, continues: bool = False
    ) -> None:
        self._batch = batch
        self._earlier = earlier
        self._of_items: set[str] = set()
        self._of_outputs: set[str] = set()
        self._shared: set[str] = set()
        self._everywhere = False
        self._unread = continues
        self._recent: deque[Sequence[Item]] = deque(maxlen=_UNWRITTEN_PAGES)
        # A thread reads pages ahead. Only one thread uses it at a time.
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._file.execute(_TABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def compared(self, page: PlannedPage, listed: Sequence[Item]) -> PlannedPage:
        """Return a page with the items that its outputs would replace, and those in danger.

        Args:
            page: The page.
            listed: All items that the source has on this page, also those without jobs.
        """
        outputs = [job.destination for each in page.items for job in each.jobs if job.destination]
        if not self._everywhere:
            self._of_outputs.update({uri[:_FIRST] + uri[-_LAST:] for uri in outputs})
            self._of_items.update({item.uri[:_FIRST] + item.uri[-_LAST:] for item in listed})
            self._share()
        self._recent.append(listed)
        if self._earlier is None:
            self._remember([(item.uri, item.line) for item in listed])
        if not self._shared and not self._everywhere:
            return page
        shared = self._among(listed)
        if self._earlier is not None:
            self._remember(shared)
        return replace(
            page, originals=self._replaced_by(outputs), endangered=list(dict(shared).items())
        )

    def _share(self) -> None:
        """Note where both items and outputs are; read the earlier items of such places."""
        most = max(len(self._of_items), len(self._of_outputs))
        self._everywhere = self._unread or most > _MOST_PLACES
        found = (self._of_items & self._of_outputs) - self._shared
        self._shared |= found
        if self._earlier is None or not (found or self._everywhere):
            return
        wanted = None if self._everywhere else {place[:-_LAST] for place in found}
        self._remember(self._earlier(wanted))
        for listed in self._recent:
            self._remember(self._among(listed))

    def _among(self, items: Iterable[Item]) -> list[tuple[str, int | None]]:
        """Those of some items that an output may replace."""
        return [
            (item.uri, item.line)
            for item in items
            if item.uri.startswith(S3_SCHEME) and self._is_shared(item.uri)
        ]

    def _is_shared(self, uri: str) -> bool:
        return self._everywhere or uri[:_FIRST] + uri[-_LAST:] in self._shared

    def _remember(self, items: Iterable[tuple[str, int | None]]) -> None:
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR IGNORE INTO items VALUES (?, ?)", items)
        self._file.execute("COMMIT")

    def _replaced_by(self, outputs: Sequence[str]) -> list[Occupant]:
        wanted = list(dict.fromkeys(uri for uri in outputs if self._is_shared(uri)))
        if not wanted:
            return []
        found = self._file.execute(_FIND, (orjson.dumps(wanted).decode(),))
        return [Occupant(uri, self._batch, uri, None, line) for uri, line in found]
