"""Many rows given to one statement, as one JSON value.

A statement for each row costs many times what the row does. On SQLite each of them also gives
the interpreter away and waits to have it back, which under load takes longer than the commit.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import orjson
from sqlalchemy import (
    CursorResult,
    Executable,
    FromClause,
    Select,
    Text,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import ClauseElement
from sqlalchemy.types import TypeEngine

from ittybatch.ledger.database import Transaction

Columns: TypeAlias = Mapping[str, type[TypeEngine[Any]]]
Rows: TypeAlias = Sequence[Mapping[str, Any]]


class BulkStatement:
    """An insert or update of rows that are given to it.

    Args:
        columns: The given rows' columns, by name.
        build: Writes the statement, from the given rows as a table.
        build_postgres: The same for Postgres, where it is written otherwise.
    """

    def __init__(
        self,
        columns: Columns,
        build: Callable[[FromClause], Executable],
        build_postgres: Callable[[FromClause], Executable] | None = None,
    ) -> None:
        self._sqlite = _Written(build(_given_to_sqlite(columns)))
        self._postgres = _Written((build_postgres or build)(_given_to_postgres(columns)))

    def run(self, transaction: Transaction, rows: Rows, **values: object) -> None:
        """Run it for these rows, if any; `values` are the statement's other parameters."""
        if rows:
            statement = self._postgres if transaction.postgres else self._sqlite
            statement.execute(transaction, rows, values)


class BulkQuery:
    """A query about rows that are given to it, fetched at once.

    Args:
        columns: The given rows' columns, by name.
        build: Writes the query, from the given rows as a table. What it selects must be text
            or numbers.
    """

    def __init__(self, columns: Columns, build: Callable[[FromClause], Select[Any]]) -> None:
        found = build(_given_to_sqlite(columns)).subquery("found")
        self._sqlite = _Written(select(func.json_group_array(func.json_array(*found.c))))
        self._postgres = _Written(build(_given_to_postgres(columns)))

    def fetch(self, transaction: Transaction, rows: Rows) -> Sequence[Sequence[Any]]:
        """What it finds for these rows."""
        if transaction.postgres:
            return self._postgres.execute(transaction, rows, {}).all()
        # One row: for each row that it fetches, the driver gives the interpreter away.
        found: list[list[Any]] = orjson.loads(
            self._sqlite.execute(transaction, rows, {}).scalar_one()
        )
        return found


class _Written:
    """A statement written out once: doing it each time costs more than running it."""

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._text = ""
        self._order: Sequence[str] | None = None
        self._constants: Mapping[str, Any] = {}

    def execute(
        self, transaction: Transaction, rows: Rows, values: Mapping[str, Any]
    ) -> CursorResult[Any]:
        if not self._text:
            self._write(transaction)
        moment = _moment_for_postgres if transaction.postgres else _moment_for_sqlite
        given = orjson.dumps(rows, default=moment, option=orjson.OPT_PASSTHROUGH_DATETIME)
        named = {**self._constants, **values, "rows": given.decode()}
        for name, value in values.items():
            if isinstance(value, datetime):
                named[name] = moment(value)
        return transaction.connection.exec_driver_sql(
            self._text, named if self._order is None else tuple(named[name] for name in self._order)
        )

    def _write(self, transaction: Transaction) -> None:
        assert isinstance(self._statement, ClauseElement)  # noqa: S101  as every Executable is
        compiled = self._statement.compile(dialect=transaction.connection.dialect)
        self._constants = compiled.params
        self._order = getattr(compiled, "positiontup", None)
        self._text = str(compiled)


def _given_to_sqlite(columns: Columns) -> FromClause:
    each = func.json_each(bindparam("rows", type_=Text)).table_valued("value", name="each")
    return select(
        *(
            type_coerce(func.json_extract(each.c.value, literal_column(f"'$.{name}'")), kind).label(
                name
            )
            for name, kind in columns.items()
        )
    ).subquery("given")


def _given_to_postgres(columns: Columns) -> FromClause:
    rows = cast(bindparam("rows", type_=Text), postgresql.JSON)
    named = (column(name, kind) for name, kind in columns.items())
    table = func.json_to_recordset(rows).table_valued(*named)
    return table.render_derived("given", with_types=True)


def _moment_for_postgres(value: object) -> str:
    return f"{_moment_for_sqlite(value)}+00:00"


def _moment_for_sqlite(value: object) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"A {type(value).__name__} cannot be given to a statement as JSON.")
    # As SQLAlchemy writes it, for there times are compared as text.
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
