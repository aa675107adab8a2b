"""Where the jobs of a dry run would write, page after page.

A batch asks the ledger, in which its earlier pages are. A dry run writes nothing there, and may
come to millions of jobs: it keeps them in a temporary file, which SQLite deletes with it.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

import orjson

from ittybatch.ledger.lookups import Occupant
from ittybatch.ledger.plan import PlannedItem, PlannedPage

_TABLE = "CREATE TABLE seen (destination TEXT, uri TEXT, fingerprint TEXT, line INTEGER)"
_INDEX = "CREATE INDEX seen_destinations ON seen (destination)"
_FIND = """
SELECT seen.destination, NULL, seen.uri, seen.fingerprint, seen.line
FROM json_each(?) AS given CROSS JOIN seen ON seen.destination = given.value
"""


class SeenDestinations:
    """Where the jobs of a dry run's earlier pages would write."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute(_TABLE)
        self._file.execute(_INDEX)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def occupants_of(self, page: PlannedPage) -> Sequence[Occupant]:
        """Find who would write to a page's destinations by the pages before it."""
        wanted = [job.destination for item in page.items for job in item.jobs if job.destination]
        if not wanted:
            return ()
        found = self._file.execute(_FIND, (orjson.dumps(list(dict.fromkeys(wanted))).decode(),))
        return [Occupant(*row) for row in found]

    def add(self, items: Iterable[PlannedItem]) -> None:
        """Remember where the jobs of these items would write."""
        rows = [
            (job.destination, each.item.uri, each.item.fingerprint, each.item.line)
            for each in items
            for job in each.jobs
            if job.destination
        ]
        if rows:
            self._file.execute("BEGIN")
            self._file.executemany("INSERT INTO seen VALUES (?, ?, ?, ?)", rows)
            self._file.execute("COMMIT")
