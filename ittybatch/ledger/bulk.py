"""Statements that take many rows at once.

One statement per row costs many times more than the row itself. On SQLite each statement also
releases the GIL and has to reacquire it, which under load takes longer than the commit.
"""

import threading
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, TypeAlias

import orjson
from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Dialect,
    Executable,
    FromClause,
    LargeBinary,
    Row,
    Select,
    column,
    func,
    insert,
    select,
    table,
)
from sqlalchemy.sql import ClauseElement
from sqlalchemy.types import TypeEngine

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Base, UtcDateTime
from ittybatch.ledger.sessions import COPIED_ROWS

Columns: TypeAlias = Mapping[str, type[TypeEngine[Any]]]
Rows: TypeAlias = Sequence[Mapping[str, Any]]

# On SQLite the SQL text depends on the number of rows, and each text is prepared and cached. So
# there are only a few block sizes, and a block is padded with rows of NULLs.
_BLOCK_SIZES = (1, 8, 64)
_ANY_SIZE = 0


@dataclass(frozen=True, slots=True)
class Shared:
    """Values that many rows share, passed once.

    Args:
        columns: Their columns.
        rows: Each set of values, in the columns' order.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def insert_rows(
    transaction: Transaction,
    into: type[Base],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    shared: Shared | None = None,
) -> None:
    """Insert many rows into one table: with COPY on Postgres, with one statement on SQLite.

    Args:
        transaction: The transaction to insert in.
        into: The table.
        columns: The columns of each row.
        rows: The values of each row, in the order of `columns`. With `shared`, each row has one
            more value: an index into `shared.rows`.
        shared: Values of further columns that many rows share.
    """
    if not rows:
        return
    names = [*columns, *(shared.columns if shared else ())]
    if transaction.postgres:
        if shared is not None:
            rows = [(*row[:-1], *shared.rows[row[-1]]) for row in rows]
        transaction.connection.exec_driver_sql(
            f"COPY {into.__tablename__} ({', '.join(names)}) FROM STDIN",
            execution_options={COPIED_ROWS: rows},
        )
        return
    # As one JSON value: the driver releases the GIL once for all rows, not once for each.
    given = func.json_each(_json(rows)).table_valued("value", name="given")
    query = select(*_extracted(given, len(columns)))
    if shared is not None:
        each = func.json_each(_json(shared.rows)).table_valued("key", "value", name="each")
        read = select(each.c.key, *_extracted(each, len(shared.columns))).cte("shared")
        read = read.prefix_with("MATERIALIZED")
        place = func.json_extract(given.c.value, f"$[{len(columns)}]")
        values = list(read.c)[1:]
        # An outer join keeps the rows in order, so that their ids are in the same order.
        query = query.add_columns(*values).join_from(given, read, read.c.key == place, isouter=True)
    transaction.execute(insert(into).from_select(names, query, include_defaults=False))


def _extracted(given: FromClause, count: int) -> Iterator[ColumnElement[Any]]:
    return (
        func.json_extract(given.c.value, f"$[{place}]").label(f"value_{place}")
        for place in range(count)
    )


class BulkStatement:
    """An INSERT or UPDATE that takes many rows.

    Args:
        columns: The types of the rows' columns, by name; the first column is never NULL.
        build: Makes the statement; its argument is the table of the given rows.
        build_postgres: The same for Postgres, if the statement differs there.
    """

    def __init__(
        self,
        columns: Columns,
        build: Callable[[FromClause], Executable],
        build_postgres: Callable[[FromClause], Executable] | None = None,
    ) -> None:
        given = _given(columns)
        self._sqlite = _SqliteStatement(columns, build(given))
        self._postgres = _PostgresStatement(columns, (build_postgres or build)(given))

    def run(self, transaction: Transaction, rows: Rows, **values: object) -> None:
        """Run the statement for these rows, if any; `values` are its other parameters."""
        for _ in self._execute(transaction, rows, values):
            pass

    def fetch(self, transaction: Transaction, rows: Rows, **values: object) -> list[Row[Any]]:
        """Run a statement with RETURNING like `run`, and return what it returns."""
        return [row for result in self._execute(transaction, rows, values) for row in result]

    def _execute(
        self, transaction: Transaction, rows: Rows, values: Mapping[str, Any]
    ) -> Iterable[CursorResult[Any]]:
        statement = self._postgres if transaction.postgres else self._sqlite
        return statement.execute(transaction, rows, values) if rows else ()


class BulkQuery:
    """A query that takes many rows.

    Args:
        columns: The types of the rows' columns, by name; the first column is never NULL.
        build: Makes the query; its argument is the table of the given rows. The query may
            select only text and numbers.
    """

    def __init__(self, columns: Columns, build: Callable[[FromClause], Select[Any]]) -> None:
        query = build(_given(columns))
        found = query.subquery("found")
        self._sqlite = _SqliteStatement(
            columns, select(func.json_group_array(func.json_array(*found.c)))
        )
        self._postgres = _PostgresStatement(columns, query)

    def fetch(self, transaction: Transaction, rows: Rows) -> Sequence[Sequence[Any]]:
        """Run the query for these rows, and return what it selects."""
        if transaction.postgres:
            return [
                row for result in self._postgres.execute(transaction, rows, {}) for row in result
            ]
        # One row for each block: the driver releases the GIL for each row that it fetches.
        blocks = (result.scalar_one() for result in self._sqlite.execute(transaction, rows, {}))
        return [row for block in blocks for row in orjson.loads(block)]


def _given(columns: Columns) -> FromClause:
    return table("given", *(column(name, kind) for name, kind in columns.items()))


@dataclass(frozen=True, slots=True)
class _CompiledSql:
    """The SQL of a statement, compiled for one database.

    Args:
        by_size: The whole SQL by number of rows; 0 stands for any number.
        constants: The parameters that never change, by name.
        order: The names of the parameters in order, if they are positional in the SQL.
    """

    by_size: Mapping[int, str]
    constants: Mapping[str, Any]
    order: Sequence[str]


class _CompiledStatement(ABC):
    """A statement that is compiled once: compiling costs more than running it."""

    def __init__(self, columns: Columns, statement: Executable) -> None:
        self._columns = columns
        self._with_times = any(issubclass(kind, UtcDateTime) for kind in columns.values())
        self._statement = statement
        self._compiling = threading.Lock()
        self._sql: _CompiledSql | None = None

    def _compiled(self, dialect: Dialect) -> _CompiledSql:
        if self._sql is None:
            with self._compiling:
                if self._sql is None:
                    # Assigned only when complete: another thread may read it at any time.
                    self._sql = self._compile(dialect)
        return self._sql

    def _compile(self, dialect: Dialect) -> _CompiledSql:
        assert isinstance(self._statement, ClauseElement)  # noqa: S101  as every Executable is
        compiled = self._statement.compile(dialect=dialect)
        return _CompiledSql(
            {size: f"{given} {compiled}" for size, given in self._with_clauses(dialect)},
            compiled.params,
            getattr(compiled, "positiontup", None) or (),
        )

    @abstractmethod
    def _with_clauses(self, dialect: Dialect) -> Iterable[tuple[int, str]]:
        """The WITH clauses that define the given rows, each with its number of rows."""


class _SqliteStatement(_CompiledStatement):
    """Passes the rows as VALUES: SQLite would parse JSON again for each column."""

    def execute(
        self, transaction: Transaction, rows: Rows, values: Mapping[str, Any]
    ) -> Iterator[CursorResult[Any]]:
        text = self._compiled(transaction.connection.dialect)
        named = {**text.constants, **values}
        rest = tuple(_parameter(named[name]) for name in text.order)
        for start in range(0, len(rows), _BLOCK_SIZES[-1]):
            block = rows[start : start + _BLOCK_SIZES[-1]]
            size = next(size for size in _BLOCK_SIZES if size >= len(block))
            cells = chain.from_iterable(map(self._cells, block))
            empty = (None,) * ((size - len(block)) * len(self._columns))
            bound = (*cells, *empty, *rest)
            yield transaction.connection.exec_driver_sql(text.by_size[size], bound)

    def _cells(self, row: Mapping[str, Any]) -> Iterable[object]:
        cells = map(row.__getitem__, self._columns)
        return map(_parameter, cells) if self._with_times else cells

    def _with_clauses(self, dialect: Dialect) -> Iterable[tuple[int, str]]:
        del dialect
        return ((size, self._values_clause(size)) for size in _BLOCK_SIZES)

    def _values_clause(self, size: int) -> str:
        row = f"({', '.join('?' * len(self._columns))})"
        names, values = ", ".join(self._columns), ", ".join([row] * size)
        # Contains only our own names and question marks.
        return f"WITH given({names}) AS (SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL)"  # noqa: S608


class _PostgresStatement(_CompiledStatement):
    """Passes the rows as one JSON value, which costs the driver nothing."""

    def execute(
        self, transaction: Transaction, rows: Rows, values: Mapping[str, Any]
    ) -> Iterator[CursorResult[Any]]:
        text = self._compiled(transaction.connection.dialect)
        named = {**text.constants, **values, "rows": _json(rows, zone="+00:00")}
        yield transaction.connection.exec_driver_sql(text.by_size[_ANY_SIZE], named)

    def _with_clauses(self, dialect: Dialect) -> Iterable[tuple[int, str]]:
        return [(_ANY_SIZE, self._recordset_clause(dialect))]

    def _recordset_clause(self, dialect: Dialect) -> str:
        shape, cells = [], []
        for name, kind in self._columns.items():
            binary = issubclass(kind, LargeBinary)
            shape.append(f"{name} {'text' if binary else kind().compile(dialect)}")
            cells.append(f"decode({name}, 'base64') AS {name}" if binary else name)
        source = f"json_to_recordset(%(rows)s::json) AS row({', '.join(shape)})"
        return f"WITH given AS (SELECT {', '.join(cells)} FROM {source})"  # noqa: S608  our own names


def _parameter(value: object) -> object:
    return _utc_text(value) if type(value) is datetime else value


def _json(rows: object, zone: str = "") -> str:
    """Encode rows as JSON; times become text in UTC, followed by `zone`."""

    def as_text(value: object) -> str:
        if isinstance(value, bytes):
            return b64encode(value).decode()
        if isinstance(value, datetime):
            return _utc_text(value) + zone
        raise TypeError(f"A {type(value).__name__} cannot be a parameter of a bulk statement.")

    return orjson.dumps(rows, default=as_text, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def _utc_text(value: datetime) -> str:
    if value.tzinfo is None:
        raise TypeError(f"The ledger takes aware datetimes only, not {value!r}.")
    # In SQLAlchemy's format, because SQLite compares times as text.
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
