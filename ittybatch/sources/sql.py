"""The source that is a query of a database."""

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import URL, Connection, CursorResult, TextClause, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ittybatch.profiles import Item
from ittybatch.sources.cells import as_cell, as_place, as_text, from_place
from ittybatch.sources.columns import Columns
from ittybatch.sources.cursor import read_cursor, write_cursor
from ittybatch.sources.errors import SourceError, without_secrets
from ittybatch.sources.form import BEGINS_EMPTY, as_form
from ittybatch.sources.page import Page, Reject
from ittybatch.sources.places import require_allowed
from ittybatch.sources.readable import refuse_unreadable
from ittybatch.sources.rows import Rows

DEFAULT_PAGE_SIZE = 1000
# Rows of one key belong to one page; so many mean that it is no key.
_MAX_TWINS = 10_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What SQLAlchemy would take for a parameter; the query has none.
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w)")
# SQLite's words where a file is missing or may not be read.
_NOT_OPENED = "unable to open database file"
_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}


class SqlSource(BaseModel):
    """Rows of a query whose column `input` names the items, with a manifest's other columns."""

    model_config = ConfigDict(
        extra="forbid", title="SQL query", frozen=True, json_schema_extra=as_form
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
        description="One SELECT whose columns are named as a manifest's: `input`, and if wanted "
        '`kind`, `options`, `profile`, `fingerprint`, `size_bytes`, `"metadata.NAME"`.',
        examples=["SELECT id, uri AS input, etag AS fingerprint FROM assets WHERE ready"],
        min_length=1,
        max_length=100_000,
        json_schema_extra={**BEGINS_EMPTY, "format": "text-area"},
    )
    key: str | None = Field(
        None,
        title="Key",
        description="A column of the query that is never empty and tells its rows apart, such as "
        "`id`. With it a scan that stops goes on from there; without, it begins anew.",
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
        # What is wrong with it is not repeated: it may be the password.
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


def read_sql(
    source: SqlSource, *, cursor: str | None = None, page_size: int = DEFAULT_PAGE_SIZE
) -> Iterator[Page]:
    """Read a query's rows with a cursor of the server, in pages.

    Args:
        source: The query.
        cursor: Of the last page that was dealt with. Without a key it only tells which rows
            have been seen, and they are read again: their jobs are found to be there already.
        page_size: Rows a page, good and bad; more where rows share a key.

    Raises:
        SourceError: The database cannot be reached, the query fails, not one of its rows can be
            read, or the columns are none of a manifest's.
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
    """How far a query has been read: to a key, or, without one, to a number of rows."""

    def __init__(self, source: SqlSource, url: URL, cursor: str | None) -> None:
        self.name = f"{url.render_as_string(hide_password=True)} {source.query}"
        self.last: Any = None
        self.rows = 0
        if cursor is None:
            return
        found = read_cursor(cursor, source.type, self.name)
        if found.get("key") != source.key:
            raise SourceError(
                "The query cannot be read on from the saved place: it had another key.",
                remedy="Start a new batch of the source.",
            )
        if source.key is not None:
            self.rows = int(found["rows"])
            self.last = from_place(found["last"])


class _Reader:
    """Turns rows into pages that end where the key changes."""

    def __init__(self, source: SqlSource, titles: list[str], place: _Place) -> None:
        try:
            self._rows = Rows(Columns.from_header(titles), typed=True)
            self._at = None if source.key is None else titles.index(source.key)
        except ValueError as error:
            raise _unusable(f"The query cannot be used: {error}.") from error
        self._source = source
        self._place = place
        self._items: list[Item] = []
        self._rejects: list[Reject] = []
        self._empty = 0

    @property
    def taken(self) -> int:
        """Rows since the last page."""
        return len(self._items) + len(self._rejects) + self._empty

    def is_full(self, row: Any, page_size: int) -> bool:  # noqa: ANN401 - a row of the result
        """Whether the page is to end before a row."""
        if self.taken < page_size:
            return False
        if self._at is None or row[self._at] != self._place.last:
            return True
        if self.taken > page_size + _MAX_TWINS:
            raise _unusable(
                f"The query cannot be used: more than {_MAX_TWINS} rows have the same "
                f"{self._source.key!r}, so it is no key."
            )
        return False

    def take(self, row: Any) -> None:  # noqa: ANN401 - a row of the result
        """Read a row."""
        self._place.rows += 1
        if self._at is not None:
            self._place.last = row[self._at]
            if self._place.last is None:
                raise _unusable(
                    f"The query cannot be used: its key {self._source.key!r} is NULL in a row."
                )
        found = self._rows.item_of(self._place.rows, [as_cell(value) for value in row])
        if isinstance(found, Item):
            self._items.append(found)
        elif found is None:
            self._empty += 1
        else:
            self._rejects.append(found)

    def page(self) -> Page:
        """Give the rows since the last page."""
        place: dict[str, Any] = {"key": self._source.key, "rows": self._place.rows}
        if self._at is not None:
            try:
                place["last"] = as_place(self._place.last)
            except TypeError as error:
                raise _unusable(f"The query cannot be used: its key is a {error}.") from error
        cursor = write_cursor(self._source.type, self._place.name, place)
        filtered = {"empty row": self._empty} if self._empty else {}
        page = Page(self._items, self._rejects, filtered, cursor)
        self._items, self._rejects, self._empty = [], [], 0
        return page


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
            f"What {source.database} holds is not a database's URL.",
            remedy="Write it like postgresql://user:password@host/database.",
        ) from None
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


@contextmanager
def _reading(url: URL) -> Iterator[Connection]:
    """A connection that can change nothing."""
    try:
        engine = create_engine(_existing(url), poolclass=NullPool, hide_parameters=True)
    except ImportError as error:
        raise SourceError(
            f"A {url.get_backend_name()} database cannot be read: {error}.",
            remedy=f"Install that driver beside ittybatch, or name another one in the URL "
            f"({url.get_backend_name()}+DRIVER://).",
        ) from error
    with engine.connect() as connection:
        if url.get_backend_name() == "postgresql":
            connection = connection.execution_options(postgresql_readonly=True)  # noqa: PLW2901
        elif url.get_backend_name() == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
            # Text that is no UTF-8 would fail the query, in columns that nobody reads, too.
            raw: Any = connection.connection.driver_connection
            raw.text_factory = as_text
        yield connection


def _existing(url: URL) -> URL:
    """The same database, but SQLite would make one of a file that is not there."""
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
    # On lines of their own, for a query may end with a comment.
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
            remedy="Check its path; it must be there, and readable, where the batch runs.",
        )
    where = url.set(password=None, username=None, query={}).render_as_string()
    return SourceError(
        f"The query of {where} failed: {reason}",
        remedy="Try the query in the database's own shell, as the same user. The batch goes on "
        "where it stopped, after `ittybatch resume`.",
    )


def _unusable(message: str) -> SourceError:
    return SourceError(
        message,
        remedy="Name its columns as a manifest's, `input` among them: SELECT uri AS input.",
    )
