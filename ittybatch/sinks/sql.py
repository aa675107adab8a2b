"""The sink that is a table of the user's own database."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ittybatch.errors import ConfigurationError, IttybatchError
from ittybatch.sinks.base import GROUP_S, Outcome, Result, SinkUnavailable
from ittybatch.sinks.environment import has_reference, resolve
from ittybatch.sinks.options import SinkOptions
from ittybatch.sinks.sql_database import Database, has_password
from ittybatch.sinks.sql_errors import concerns_all, is_refused
from ittybatch.sinks.sql_table import TargetTable, UnusableTable
from ittybatch.sinks.values import UNCHANGED, Template, Value, parse_text, parse_value

# Our result may come before the user's own transaction that inserts the row has committed.
_MISSING_ROW_S: Final = 60.0
_MOST_AT_ONCE: Final = 500
# Rows alone with an unknown error, before any row was written, that end a group.
_MOST_UNCLEAR: Final = 20
# How often a row may fail so while others are written, before it is refused; as for addresses.
_MOST_FAILURES: Final = 10
# And since when: a server that is out of order for minutes also fails for sound rows.
_LEAST_FAILING_S: Final = 900.0
_MOST_COUNTED: Final = 10_000


class SqlOptions(SinkOptions):
    """A table that gets the result of each job."""

    kind: Literal["sql"] = Field(description="A table of your own database.")
    url: str = Field(
        min_length=1,
        description="The database's URL: a reference to an environment variable, such as "
        "${DATABASE_URL}. A URL without a password may stand here.",
    )
    table: str = Field(min_length=1, description="The table, or schema.table.")
    mode: Literal["update", "upsert"] = Field(
        description="`update` changes existing rows. `upsert` also inserts missing ones; the key "
        "must be unique."
    )
    key: dict[str, str] = Field(
        min_length=1,
        max_length=8,
        description="Columns that identify the row, with their templates: {id: "
        "'{metadata.media_id}'}. A result without one of these values is left out.",
    )
    columns: dict[str, Any] = Field(
        default_factory=dict,
        max_length=200,
        description="The other columns to write: constants, templates, or cases.",
    )

    @field_validator("url")
    @classmethod
    def _no_password(cls, url: str) -> str:
        if not has_reference(url) and has_password(url):
            raise ValueError(
                "it holds a password; put the URL into an environment variable of the receiver, "
                "and write ${NAME_OF_THE_VARIABLE} here"
            )
        return url

    @field_validator("key")
    @classmethod
    def _key_templates(cls, key: dict[str, str]) -> dict[str, str]:
        for column, text in key.items():
            _explained(column, parse_text, text)
        return key

    @field_validator("columns")
    @classmethod
    def _column_values(cls, columns: dict[str, Any]) -> dict[str, Any]:
        for column, given in columns.items():
            _explained(column, parse_value, given)
        return columns

    @model_validator(mode="after")
    def _something_to_write(self) -> "SqlOptions":
        if both := self.key.keys() & self.columns.keys():
            raise ValueError(f"the column {min(both)} is in `key` and in `columns`")
        if self.mode == "update" and not self.columns:
            raise ValueError("`columns` names no column to update")
        return self

    @cached_property
    def key_templates(self) -> Mapping[str, Template]:
        """The parsed templates of the key."""
        return {column: parse_text(text) for column, text in self.key.items()}

    @cached_property
    def column_values(self) -> Mapping[str, Value]:
        """The parsed values of the other columns."""
        return {column: parse_value(given) for column, given in self.columns.items()}

    def open(self) -> "SqlSink":
        """Make the sink. It connects when it is used."""
        return SqlSink(self)


def _explained(column: str, parse: Any, given: Any) -> None:  # noqa: ANN401
    try:
        parse(given)
    except ValueError as error:
        raise ValueError(f"column {column}: {error}") from None


@dataclass(slots=True)
class _Row:
    """What a result writes: the values by column."""

    result: Result
    values: dict[str, Any]


@dataclass(slots=True)
class _Failing:
    """How a result fails.

    Args:
        since: Its first failure, by `time.monotonic`.
        count: Its failures while others were written.
    """

    since: float
    count: int = 0


@dataclass(slots=True)
class _Group:
    """One call of `deliver`.

    Args:
        ends_at: When it ends, by `time.monotonic`.
        progressed: Whether a row was written or refused.
        unclear: Errors of rows that may concern them alone, or all.
        held_up: Jobs of such rows: their later results wait, too.
        first_unclear: The first such error of any part of the group.
        errors: What became of its results.
    """

    ends_at: float
    progressed: bool = False
    unclear: dict[int, SQLAlchemyError] = field(default_factory=dict)
    held_up: set[int] = field(default_factory=set)
    first_unclear: SQLAlchemyError | None = None
    errors: dict[int, str | None] = field(default_factory=dict)


class SqlSink:
    """Writes results to a table, a group of them in one transaction."""

    wants_raw = False

    def __init__(self, options: SqlOptions) -> None:
        self._options = options
        self._database: Database | None = None
        self._target: TargetTable | None = None
        # When a row for a result was first looked for in vain.
        self._missing_since: dict[int, float] = {}
        # Results that failed with an unknown error, the oldest first.
        self._failures: dict[int, _Failing] = {}
        # Rows in a transaction. Where an update is slow, for example without an index on the key,
        # one refused row would undo what takes longer than a group may, each time.
        self._at_once = _MOST_AT_ONCE

    @property
    def name(self) -> str:
        """Its name in `results.yaml`."""
        return self._options.name

    def deliver(self, results: Sequence[Result]) -> Sequence[Outcome]:
        """Write results to the table.

        If the database refuses a group, its halves are tried, until the refused rows are alone.
        So they are after an error that may concern one row: a row that fails so alone waits, and
        is refused when it has failed often while others were written. Each part is a transaction,
        because some constraints are only checked by COMMIT.

        Raises:
            SinkUnavailable: The database or the table cannot be used.
        """
        group = _Group(time.monotonic() + GROUP_S)
        wanted = []
        for result in results:
            keyed = all(each.is_complete(result) for each in self._options.key_templates.values())
            if keyed and self._options.wants(result):
                wanted.append(result)
            else:
                group.errors[result.outbox_id] = None
        if wanted:
            self._deliver_wanted(wanted, group)
        return [
            Outcome(result.outbox_id, group.errors[result.outbox_id])
            for result in results
            if result.outbox_id in group.errors
        ]

    def _deliver_wanted(self, wanted: Sequence[Result], group: _Group) -> None:
        database = self._open()
        try:
            target = self._find_table(database)
            rows = []
            for result in wanted:
                try:
                    rows.append(_Row(result, self._values_of(target, result)))
                except ValueError as error:
                    group.errors[result.outbox_id] = f"Not written: {error}."
            self._write_in_parts(database, target, rows, group)
        except (SQLAlchemyError, UnusableTable) as error:
            # It may have been changed. The next delivery looks again.
            self._target = None
            raise database.unavailable(error) from error
        except ConfigurationError as error:
            raise SinkUnavailable(error.message, remedy=error.remedy) from None

    def check(self) -> str | None:
        """Say what is wrong with the database or the table; None if results can be written."""
        try:
            database = self._open()
            self._target = None
            self._find_table(database)
        except IttybatchError as error:
            return str(error)
        except (SQLAlchemyError, UnusableTable) as error:
            return database.unavailable(error).message
        return None

    def close(self) -> None:
        """Close the connection."""
        if self._database is not None:
            self._database.close()
        self._database = self._target = None

    def _open(self) -> Database:
        if self._database is None:
            try:
                self._database = Database(self.name, resolve(self._options.url, self.name))
            except IttybatchError as error:
                raise SinkUnavailable(error.message, remedy=error.remedy) from None
        return self._database

    def _find_table(self, database: Database) -> TargetTable:
        if self._target is None:
            schema, _, table = self._options.table.rpartition(".")
            with database.transaction() as connection:
                self._target = TargetTable(
                    connection,
                    table,
                    schema or database.schema,
                    self._options.key,
                    self._options.columns,
                    upsert=self._options.mode == "upsert",
                )
        return self._target

    def _values_of(self, target: TargetTable, result: Result) -> dict[str, Any]:
        key = {name: each.of(result) for name, each in self._options.key_templates.items()}
        columns = {name: each.of(result) for name, each in self._options.column_values.items()}
        changed = {name: value for name, value in columns.items() if value is not UNCHANGED}
        return target.row(key, changed)

    def _write_in_parts(
        self, database: Database, target: TargetTable, rows: Sequence[_Row], group: _Group
    ) -> None:
        """Write rows in transactions that are small enough to get some of them done in time."""
        # Those that failed before are last and alone, so that they cost no other row its turn.
        # All results of their jobs are, because the results of one job have an order.
        failing = {row.result.job_id for row in rows if row.result.outbox_id in self._failures}
        fresh = [row for row in rows if row.result.job_id not in failing]
        late = [row for row in rows if row.result.job_id in failing]
        for part, size in ((fresh, self._at_once), (late, 1)):
            for start in range(0, len(part), size):
                self._write(database, target, part[start : start + size], group)
        if group.progressed:
            self._at_once = min(2 * self._at_once, _MOST_AT_ONCE)
        elif group.first_unclear is not None:
            # Halves would take minutes to find a locked row: each try waits for the lock.
            self._at_once = 1
        elif rows:
            self._at_once = max(min(self._at_once, len(rows)) // 2, 1)
        self._count_failures(database, group)

    def _write(
        self, database: Database, target: TargetTable, rows: Sequence[_Row], group: _Group
    ) -> None:
        """Write rows; where one is refused or may be the cause of an error, the halves."""
        rows = [row for row in rows if row.result.job_id not in group.held_up]
        stuck = not group.progressed and len(group.unclear) >= _MOST_UNCLEAR
        if not rows or stuck or time.monotonic() > group.ends_at:
            return
        try:
            with database.transaction() as connection:
                missing = _apply(connection, target, rows)
        except (SQLAlchemyError, ValueError, TypeError, OverflowError) as error:
            if not is_refused(error):
                if not isinstance(error, SQLAlchemyError) or concerns_all(error):
                    raise
                database.require_answer()
                group.first_unclear = group.first_unclear or error
            if len(rows) > 1:
                half = len(rows) // 2
                self._write(database, target, rows[:half], group)
                self._write(database, target, rows[half:], group)
            elif is_refused(error):
                self._failures.pop(rows[0].result.outbox_id, None)
                group.errors[rows[0].result.outbox_id] = f"Refused: {database.describe(error)}."
                group.progressed = True
            elif isinstance(error, SQLAlchemyError):
                group.unclear[rows[0].result.outbox_id] = error
                group.held_up.add(rows[0].result.job_id)
            return
        group.progressed = True
        for row in rows:
            self._failures.pop(row.result.outbox_id, None)
            self._record(row, group, missing=target.key_of(row.values) in missing)

    def _count_failures(self, database: Database, group: _Group) -> None:
        """Refuse rows that failed often, and for long, while others were written.

        Raises:
            SQLAlchemyError: Nothing was written, so the error may concern all.
        """
        now = time.monotonic()
        for number, error in group.unclear.items():
            failing = self._failures.setdefault(number, _Failing(now))
            failing.count += group.progressed
            if failing.count >= _MOST_FAILURES and now - failing.since >= _LEAST_FAILING_S:
                del self._failures[number]
                group.errors[number] = (
                    f"Refused: {database.describe(error)} ({failing.count} times, while others "
                    "were written)."
                )
        for number in list(self._failures)[: max(len(self._failures) - _MOST_COUNTED, 0)]:
            del self._failures[number]
        if group.first_unclear is not None and not group.progressed:
            raise group.first_unclear

    def _record(self, row: _Row, group: _Group, *, missing: bool) -> None:
        number = row.result.outbox_id
        if not missing:
            self._missing_since.pop(number, None)
            group.errors[number] = None
            return
        now = time.monotonic()
        if now - self._missing_since.setdefault(number, now) >= _MISSING_ROW_S:
            del self._missing_since[number]
            shown = ", ".join(f"{name}={row.values[name]}" for name in self._options.key)
            group.errors[number] = (
                f"No row with {shown} in {self._options.table} after {_MISSING_ROW_S:.0f} s."
            )


def _apply(
    connection: Connection, target: TargetTable, rows: Sequence[_Row]
) -> set[tuple[Any, ...]]:
    """Write rows in the current transaction.

    Returns:
        The keys that no row has.
    """
    # Several results of one row, such as its acceptance and its end, become one write. The same
    # order everywhere keeps two writers from a deadlock.
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = target.key_of(row.values)
        merged[key] = {**merged.get(key, {}), **row.values}
    alike: dict[frozenset[str], list[dict[str, Any]]] = {}
    for each in sorted(merged.values(), key=lambda values: str(target.key_of(values))):
        alike.setdefault(frozenset(each), []).append(each)
    missing: set[tuple[Any, ...]] = set()
    for columns, group in alike.items():
        if not target.upsert and columns == frozenset(target.key):
            continue
        statement = target.statement(columns)
        # Unless the key is unique, two rows of one key would stand in for a missing one in the
        # count of all.
        if target.upsert or target.unique:
            written = connection.execute(statement, [target.parameters(each) for each in group])
            if target.upsert or written.rowcount == len(group):
                continue
        for each in group:
            if connection.execute(statement, target.parameters(each)).rowcount == 0:
                missing.add(target.key_of(each))
    return missing
