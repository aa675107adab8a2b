"""The source that is a SQL query."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

import psycopg
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import URL, Connection, CursorResult, TextClause, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ittybatch.ittybit.redaction import without_secrets
from ittybatch.sources.cells import as_cell, as_text
from ittybatch.sources.columns import Columns
from ittybatch.sources.form import BEGINS_EMPTY, as_form
from ittybatch.sources.origins import require_allowed
from ittybatch.sources.page import (
    Page,
    PageBuilder,
    SourceError,
    read_cursor,
    refuse_unreadable,
    unusable_cursor,
    write_cursor,
)
from ittybatch.sources.postgres_values import tolerate_values
from ittybatch.sources.rows import Rows

# Rows with the same key stay in one page. More of them mean that the key is not unique.
_MAX_SAME_KEY = 10_000
# The cursor's JSON has no longer integers.
_JSON_BITS = 64
# Stands for a value of a column that is not read.
_UNREAD = "..."
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# SQLAlchemy would read this as a parameter, and the query has no parameters.
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w)")
# SQLite's message for a file that is missing or may not be read.
_NOT_OPENED = "unable to open database file"
_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
# Keys that JSON has no type for, by the name that the cursor gives their type.
_KEY_TYPES: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": uuid.UUID,
    "decimal": Decimal,
}


class SqlSource(BaseModel):
    """Rows of a query whose column `input` names the items, with a manifest's other columns."""

    model_config = ConfigDict(
        extra="forbid",
        title="SQL query",
        frozen=True,
        json_schema_extra=as_form,
        hide_input_in_errors=True,
    )

    type: Literal["sql"] = Field("sql", title="Type", description="A query of a database.")
    database: str = Field(
        title="Database",
        description="Name of the environment variable that holds the database's URL, such as "
        "`LIBRARY_DATABASE_URL`, where the batch runs. Or the URL itself, if it has no password.",
        examples=["LIBRARY_DATABASE_URL"],
        min_length=1,
        max_length=2048,
        json_schema_extra=BEGINS_EMPTY,
    )
    query: str = Field(
        title="Query",
        description="One SELECT with the columns of a manifest: `input`, and optionally "
        '`kind`, `options`, `profile`, `fingerprint`, `size_bytes`, `"metadata.NAME"`.',
        examples=["SELECT id, uri AS input, etag AS fingerprint FROM assets WHERE ready"],
        min_length=1,
        max_length=100_000,
        json_schema_extra={**BEGINS_EMPTY, "format": "text-area"},
    )
    key: str | None = Field(
        None,
        title="Key",
        description="A column of the query that is unique and never NULL, such as `id`. With a "
        "key, a stopped scan resumes after the last row; without one, it starts again.",
        max_length=200,
        json_schema_extra=BEGINS_EMPTY,
    )

    @field_validator("database")
    @classmethod
    def _no_password(cls, database: str) -> str:
        stripped = database.strip()
        if "://" not in stripped:
            if not _NAME.fullmatch(stripped):
                raise ValueError("it is neither an environment variable's name nor a URL")
            return stripped
        # Do not repeat the driver's message: it may contain the password.
        try:
            url = make_url(stripped)
        except (ArgumentError, ValueError):
            raise ValueError("it is not a database's URL") from None
        if url.password is not None or any("pass" in name.lower() for name in url.query):
            raise ValueError(
                "it holds a password, which would be kept and shown with the batch; put the URL "
                "into an environment variable where batches run, and give that variable's name"
            )
        return stripped

    @field_validator("query")
    @classmethod
    def _one_query(cls, query: str) -> str:
        stripped = query.strip().rstrip(";").rstrip()
        if not re.match(r"(?is)(\s|--[^\n]*\n|/\*.*?\*/)*(select|with|values|table)\b", stripped):
            raise ValueError("it is not one query that begins with SELECT or WITH")
        return stripped

    @field_validator("key")
    @classmethod
    def _given(cls, key: str | None) -> str | None:
        return (key or "").strip() or None


def read_sql(source: SqlSource, *, cursor: str | None, page_size: int) -> Iterator[Page]:
    """Read a query's rows with a server-side cursor, in pages.

    Args:
        source: The query.
        cursor: Cursor of the last committed page. If the source has no key, all rows are read
            again, and their jobs count as duplicates.
        page_size: Rows in a page; more if rows share a key.

    Raises:
        SourceError: The database cannot be reached, the query fails, none of its rows can be
            read, or it has no column `input`.
    """
    pages = _pages(source, cursor, page_size)
    if cursor is not None:
        return pages
    return refuse_unreadable(pages, lambda why: _unusable(f"The query cannot be used: {why}."))


def _pages(source: SqlSource, cursor: str | None, page_size: int) -> Iterator[Page]:
    url = _url_of(source)
    place = _Place(source, url, cursor)
    try:
        with (
            _reading(url) as connection,
            closing(_result(source, connection, place, page_size)) as result,
        ):
            reader = _Reader(source, list(result.keys()), place)
            for row in result:
                if reader.is_full(row, page_size):
                    yield reader.page()
                reader.take(row)
            if reader.taken:
                yield reader.page()
    except SQLAlchemyError as error:
        raise _failed(url, error) from error


class _Place:
    """How far a query was read: up to a key, or to a number of rows."""

    def __init__(self, source: SqlSource, url: URL, cursor: str | None) -> None:
        # Without the URL's query, which may have a password. Until 0.5 the name had it.
        bare, whole = (
            f"{each.render_as_string(hide_password=True)} {source.query}"
            for each in (url.set(query={}), url)
        )
        self.name = bare
        self.last: Any = None
        self.rows = 0
        if cursor is None:
            return
        found = read_cursor(cursor, source.type, bare, whole)
        if found.get("key") != source.key:
            raise unusable_cursor("The query", "it had another key")
        if source.key is not None:
            self.rows = int(found["rows"])
            self.last = _read_key(found["last"])


class _Reader:
    """Turns rows into pages. Rows with the same key stay in one page."""

    def __init__(self, source: SqlSource, titles: list[str], place: _Place) -> None:
        try:
            columns = Columns.from_header(titles)
            self._rows = Rows(columns, typed=True)
            self._at = None if source.key is None else titles.index(source.key)
        except ValueError as error:
            raise _unusable(f"The query cannot be used: {error}.") from error
        # The key shows in a reject which row it is.
        self._read = {*columns.read, *([] if self._at is None else [self._at])}
        self._source = source
        self._place = place
        self._builder = PageBuilder(empty_rule="empty row")
        self.taken = 0

    def is_full(self, row: Any, page_size: int) -> bool:  # noqa: ANN401 - a row of the result
        """Say whether the page ends before this row."""
        if self.taken < page_size:
            return False
        if self._at is None or row[self._at] != self._place.last:
            return True
        if self.taken > page_size + _MAX_SAME_KEY:
            raise _unusable(
                f"The query cannot be used: more than {_MAX_SAME_KEY} rows have the same "
                f"{self._source.key!r}, so it is not a key."
            )
        return False

    def take(self, row: Any) -> None:  # noqa: ANN401 - a row of the result
        """Add a row to the page."""
        self.taken += 1
        self._place.rows += 1
        if self._at is not None:
            self._place.last = row[self._at]
            if self._place.last is None:
                raise _unusable(
                    f"The query cannot be used: its key {self._source.key!r} is NULL in a row."
                )
        self._builder.add(self._rows.item_of(self._place.rows, self._cells(row)))

    def _cells(self, row: Any) -> list[str]:  # noqa: ANN401 - a row of the result
        """Write the values that are read as text. Of the others only count whether they are."""
        return [
            as_cell(value) if place in self._read else "" if value is None else _UNREAD
            for place, value in enumerate(row)
        ]

    def page(self) -> Page:
        """Return the rows since the last page."""
        place: dict[str, Any] = {"key": self._source.key, "rows": self._place.rows}
        if self._at is not None:
            try:
                place["last"] = _write_key(self._place.last)
            except TypeError as error:
                raise _unusable(f"The query cannot be used: its key is a {error}.") from error
        self.taken = 0
        return self._builder.build(write_cursor(self._source.type, self._place.name, place))


def _write_key(value: object) -> object:
    """Write a key as a JSON value.

    Raises:
        TypeError: Its type cannot be written; the message is the type's name.
    """
    match value:
        case int() if value.bit_length() >= _JSON_BITS:
            return {"decimal": str(value)}
        case str() | int() | float():
            return value
        case datetime():
            return {"datetime": value.isoformat()}
        case date():
            return {"date": value.isoformat()}
        case uuid.UUID() | Decimal():
            return {type(value).__name__.lower(): str(value)}
        case _:
            raise TypeError(type(value).__name__)


def _read_key(value: object) -> Any:  # noqa: ANN401 - a key may have any type
    """Read the key that `_write_key` wrote."""
    if isinstance(value, dict):
        [(kind, text)] = value.items()
        return _KEY_TYPES[kind](text)
    return value


def _url_of(source: SqlSource) -> URL:
    given = source.database
    if "://" not in given:
        found = os.environ.get(given, "").strip()
        if not found:
            raise SourceError(
                f"The environment variable {given} is not set where the batch runs.",
                remedy=f"Set {given} to the database's URL for the worker, and start it again.",
            )
        given = found
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise SourceError(
            f"The value of {source.database} is not a database URL.",
            remedy="Write it like postgresql://user:password@host/database.",
        ) from None
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


@contextmanager
def _reading(url: URL) -> Iterator[Connection]:
    """Open a connection that cannot change anything."""
    try:
        engine = create_engine(_existing(url), poolclass=NullPool, hide_parameters=True)
    except ImportError as error:
        raise SourceError(
            f"A {url.get_backend_name()} database cannot be read: {error}.",
            remedy=f"Install that driver beside ittybatch, or put another one into the URL "
            f"({url.get_backend_name()}+DRIVER://).",
        ) from error
    with engine.connect() as connection:
        if url.get_backend_name() == "postgresql":
            connection = connection.execution_options(postgresql_readonly=True)  # noqa: PLW2901
            raw: Any = connection.connection.driver_connection
            if isinstance(raw, psycopg.Connection):
                tolerate_values(raw)
        elif url.get_backend_name() == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
            # Text that is not UTF-8 would fail the query, even in a column that is not read.
            raw = connection.connection.driver_connection
            raw.text_factory = as_text
        yield connection


def _existing(url: URL) -> URL:
    """Keep SQLite from creating a file that does not exist."""
    path = url.database
    if url.get_backend_name() != "sqlite" or not path or path == ":memory:":
        return url
    require_allowed(Path(unquote(path.removeprefix("file:")) if "uri" in url.query else path))
    if "uri" not in url.query:
        url = url.set(database=f"file:{quote(str(Path(path).absolute()))}")
    return url.update_query_dict({"mode": "rw", **url.query, "uri": "true"})


def _result(
    source: SqlSource, connection: Connection, place: _Place, page_size: int
) -> CursorResult[Any]:
    statement, values = _statement(source, connection, place)
    return connection.execution_options(yield_per=page_size).execute(statement, values)


def _statement(
    source: SqlSource, connection: Connection, place: _Place
) -> tuple[TextClause, dict[str, Any]]:
    query = _PARAMETER.sub(r"\\:", source.query)
    if source.key is None:
        return text(query), {}
    key = connection.dialect.identifier_preparer.quote(source.key)
    # Put the query on its own lines: it may end with a comment.
    wrapped = f"SELECT * FROM (\n{query}\n) AS source"  # noqa: S608 - the user's own query
    if place.last is None:
        return text(f"{wrapped} ORDER BY {key}"), {}
    return text(f"{wrapped} WHERE {key} > :ittybatch_last ORDER BY {key}"), {
        "ittybatch_last": place.last
    }


def _failed(url: URL, error: SQLAlchemyError) -> SourceError:
    reason = without_secrets(str(getattr(error, "orig", None) or error)).strip()
    if url.password:
        reason = reason.replace(str(url.password), "...")
    if url.database and _NOT_OPENED in reason:
        return SourceError(
            f"The database file {url.database} cannot be opened.",
            remedy="Check its path. The file must exist and be readable where the batch runs.",
        )
    where = url.set(password=None, username=None, query={}).render_as_string()
    return SourceError(
        f"The query of {where} failed: {reason}",
        remedy="Try the query in the database's own shell, as the same user. `ittybatch resume` "
        "continues where the batch stopped.",
    )


def _unusable(message: str) -> SourceError:
    return SourceError(
        message,
        remedy="Give its columns the names of a manifest's, such as SELECT uri AS input.",
    )
