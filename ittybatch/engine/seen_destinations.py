"""Remember the destinations of a dry run's jobs.

A batch looks up destinations in the ledger, which has its earlier pages. A dry run writes nothing
to the ledger and may plan millions of jobs, so it keeps destinations in a temporary SQLite
database. SQLite deletes that database when it is closed.
"""

import sqlite3
from collections.abc import Iterable, Sequence

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
    """The destinations of the jobs on a dry run's earlier pages."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute(_TABLE)
        self._file.execute(_INDEX)

    def close(self) -> None:
        """Delete the temporary database."""
        self._file.close()

    def occupants_of(self, page: PlannedPage) -> Sequence[Occupant]:
        """Find the items on earlier pages that write to a page's destinations or items."""
        wanted = [job.destination for item in page.items for job in item.jobs if job.destination]
        wanted += [uri for uri, _ in page.endangered]
        if not wanted:
            return ()
        found = self._file.execute(_FIND, (orjson.dumps(list(dict.fromkeys(wanted))).decode(),))
        return [Occupant(*row) for row in found]

    def add(self, items: Iterable[PlannedItem]) -> None:
        """Remember the destinations of these items' jobs."""
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
