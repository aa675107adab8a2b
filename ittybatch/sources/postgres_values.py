"""Values of Postgres that Python has no type for, read as the text that Postgres writes."""

from typing import Any

from psycopg import Connection, DataError, adapters
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

from ittybatch.sources.cells import as_text

# `infinity` and years before 1 or after 9999, `24:00`, intervals of millions of years, and JSON
# with numbers of thousands of digits.
_TYPES = ("date", "timestamp", "timestamptz", "time", "timetz", "interval", "json", "jsonb")
_NOT_IN_PYTHON = (DataError, ValueError, OverflowError, RecursionError)


class _Tolerant(Loader):
    """Reads values as psycopg does, and those that it refuses as text."""

    usual: type[Loader]

    def __init__(self, oid: int, context: Any = None) -> None:  # noqa: ANN401 - psycopg's
        super().__init__(oid, context)
        self._usual = self.usual(oid, context)

    def load(self, data: Buffer) -> Any:  # noqa: ANN401 - psycopg's
        """Read a value."""
        try:
            return self._usual.load(data)
        except _NOT_IN_PYTHON:
            return as_text(bytes(data))


def tolerate_values(connection: Connection[Any]) -> None:
    """Let a connection read every value. One that Python has no type for becomes text.

    Otherwise it would fail the whole query, even in a column that nobody reads.

    Args:
        connection: A connection of psycopg.
    """
    for name in _TYPES:
        oid = adapters.types[name].oid
        usual = adapters.get_loader(oid, Format.TEXT)
        loader = type(f"Tolerant{name.title()}", (_Tolerant,), {"usual": usual})
        connection.adapters.register_loader(name, loader)
