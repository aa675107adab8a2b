"""Opening the ledger, and running its transitions in transactions."""

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import stamina
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    any_,
    create_engine,
    event,
    func,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import CursorResult, Row, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import Executable

from ittybatch.errors import IttybatchError
from ittybatch.home import make_private, private_file, private_folder
from ittybatch.ledger.models import Base
from ittybatch.ledger.sessions import SessionLimits, create_postgres_engine
from ittybatch.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

BUSY_TIMEOUT_S = 30
# Deadlock, serialization failure, lock timeout, a session that the server ended because it was
# idle, lost connection: the transaction was rolled back. A server that accepts no writes counts as
# a lost connection (`sessions`).
_TRANSIENT_SQLSTATES = (
    *("40001", "40P01", "55P03", "25P03", "57P01", "57P02", "57P03"),
    *("08", "53300"),
)

# Postgres: an undefined table, an undefined column.
_NOT_MIGRATED = ("42P01", "42703")


class LedgerUnavailable(IttybatchError):
    """The database cannot be reached, or its tables are missing."""


class Transaction:
    """One transaction of the ledger."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.postgres = connection.dialect.name == "postgresql"

    @cached_property
    def now(self) -> datetime:
        """The time of this transaction; on Postgres by the server's clock."""
        if self.postgres:
            found: datetime = self.connection.execute(select(func.clock_timestamp())).scalar_one()
            return found.astimezone(UTC)
        return datetime.now(UTC)

    def execute(
        self, statement: Executable, rows: Sequence[dict[str, Any]] | dict[str, Any] | None = None
    ) -> CursorResult[Any]:
        """Run one statement, or one statement for each of `rows`."""
        return self.connection.execute(statement, rows)

    def rows(self, statement: Executable, values: dict[str, Any] | None = None) -> list[Row[Any]]:
        """Run a query and fetch all rows."""
        return list(self.execute(statement, values).all())

    def serialise(self, what: str) -> None:
        """Take an advisory lock until the transaction ends. SQLite has one writer anyway."""
        if self.postgres:
            number = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], signed=True)
            # The time comes along: almost every caller needs it next.
            lock = select(func.pg_advisory_xact_lock(number), func.clock_timestamp())
            locked_at: datetime = self.connection.execute(lock).one()[1]
            if "now" not in self.__dict__:
                self.now = locked_at.astimezone(UTC)

    def is_one_of(
        self, column: InstrumentedAttribute[Any], values: Sequence[Any]
    ) -> ColumnElement[bool]:
        """Whether a column has one of some values.

        On Postgres they are one array: with IN, each number of values would be another statement,
        which is prepared and planned anew.
        """
        if self.postgres:
            return column == any_(literal(list(values), ARRAY(column.type)))
        return column.in_(values)

    def insert_new(self, table: type[Base]) -> Insert:
        """Insert rows, skipping those that a unique index already has."""
        if self.postgres:
            return postgresql.insert(table).on_conflict_do_nothing()
        return sqlite.insert(table).on_conflict_do_nothing()


class Ledger:
    """A database engine that runs transitions, one transaction each.

    Args:
        engine: From `create_ledger_engine`.
        patience_s: Seconds for which a transition is retried while the database is unreachable.
    """

    def __init__(self, engine: Engine, *, patience_s: float = 30.0) -> None:
        self.engine = engine
        self.patience_s = patience_s
        # SQLite has one writer. Waiting for it here is fair; waiting in the database is not.
        self._writer: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if engine.dialect.name == "sqlite" else contextlib.nullcontext()
        )

    def write(
        self,
        transition: Callable[Concatenate[Transaction, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Run a transition in a transaction; retry it if the database rolled it back.

        Raises:
            LedgerUnavailable: when the database stays unreachable for `patience_s`.
        """
        try:
            for attempt in self._attempts():
                with attempt, self._writer, self._begin(write=True) as transaction:
                    return transition(transaction, *args, **kwargs)
        except DBAPIError as error:
            if _is_unavailable(error):
                raise _unavailable(self.engine, error) from error
            raise
        raise AssertionError("unreachable: the loop returns or raises")

    async def write_from_loop(
        self,
        waiting: Executor,
        transition: Callable[Concatenate[Transaction, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """`write`, for an event loop that must not block.

        SQLite waits for its writer lock and for the disk: its BEGIN and COMMIT run in `waiting`.
        The statements between them do not wait; in another thread each would release the GIL
        and have to reacquire it from the loop. On Postgres every statement waits for the network,
        so the whole transaction runs in `waiting`.

        Args:
            waiting: Threads that may block.
            transition: As for `write`.
            *args: The transition's arguments.
            **kwargs: The transition's arguments by name.

        Raises:
            LedgerUnavailable: when the database stays unreachable for `patience_s`.
        """
        loop = asyncio.get_running_loop()
        if self.engine.dialect.name != "sqlite":
            return await loop.run_in_executor(
                waiting, partial(self.write, transition, *args, **kwargs)
            )
        try:
            with contextlib.ExitStack() as opened:
                transaction = await loop.run_in_executor(waiting, self._begin_with_retries, opened)
                result = transition(transaction, *args, **kwargs)
                await loop.run_in_executor(waiting, opened.close)
                return result
        except DBAPIError as error:
            if _is_unavailable(error):
                raise _unavailable(self.engine, error) from error
            raise

    def _begin_with_retries(self, opened: contextlib.ExitStack) -> Transaction:
        """Begin a transaction that ends when `opened` is closed."""
        for attempt in self._attempts():
            with attempt, contextlib.ExitStack() as begun:
                begun.enter_context(self._writer)
                transaction = begun.enter_context(self._begin(write=True))
                opened.push(begun.pop_all())
        return transaction

    def _attempts(self) -> Iterable[stamina.Attempt]:
        return stamina.retry_context(
            on=_is_transient,
            attempts=None,
            timeout=self.patience_s,
            wait_initial=0.05,
            wait_max=2.0,
        )

    def read(
        self, query: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a query in a transaction of its own.

        Raises:
            LedgerUnavailable: when the database cannot be reached.
        """
        try:
            try:
                with self._begin(write=False) as transaction:
                    return query(transaction, *args, **kwargs)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            # The server has closed a connection that was used a moment ago, and was not checked.
            # The pool has dropped all of them, so this one is new.
            with self._begin(write=False) as transaction:
                return query(transaction, *args, **kwargs)
        except DBAPIError as error:
            if _is_unavailable(error):
                raise _unavailable(self.engine, error) from error
            raise

    @contextlib.contextmanager
    def _begin(self, *, write: bool) -> Iterator[Transaction]:
        engine = self.engine.execution_options(ittybatch_write=write)
        with engine.begin() as connection:
            yield Transaction(connection)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def open_ledger(settings: Settings, *, patience_s: float = 30.0) -> Ledger:
    """Open the ledger that the settings name: `DATABASE_URL`, or SQLite under `home`."""
    make_private(settings.home)
    limits = SessionLimits(
        idle_transaction_s=settings.db_idle_transaction_s,
        lock_s=settings.db_lock_timeout_s,
        network_s=settings.db_network_timeout_s,
    )
    return Ledger(create_ledger_engine(settings.ledger_url, limits), patience_s=patience_s)


def create_ledger_engine(url: str, limits: SessionLimits | None = None) -> Engine:
    """Make an engine for a SQLite or Postgres URL, set up as the ledger needs it.

    Args:
        url: SQLAlchemy's URL of the database.
        limits: Timeouts of sessions with Postgres; None for the defaults.

    Raises:
        ConfigurationError: when the database does not know a parameter of the URL.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            path = Path(parsed.database)
            private_folder(path.parent)
            private_file(path)
        engine = create_engine(
            parsed, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S}
        )
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_postgres_engine(parsed, limits or SessionLimits())


def _set_up_sqlite(connection: Any, _record: Any) -> None:  # noqa: ANN401  DB-API
    # The driver would begin transactions implicitly, and too late to get the writer lock.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-65536",
        "wal_autocheckpoint=4000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("ittybatch_write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _is_transient(error: Exception) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_TRANSIENT_SQLSTATES)
    message = str(error.orig)
    return "database is locked" in message or "connection" in message.lower()


def _is_unavailable(error: DBAPIError) -> bool:
    """Whether the database failed, and not the statement."""
    if isinstance(error, (OperationalError, InterfaceError)) or _is_transient(error):
        return True
    # SQLite calls missing tables and columns an operational error.
    return getattr(error.orig, "sqlstate", None) in _NOT_MIGRATED


def _unavailable(engine: Engine, error: Exception) -> LedgerUnavailable:
    cause = str(getattr(error, "orig", error)).strip().splitlines()
    where = engine.url.set(query={}).render_as_string(hide_password=True)
    detail = cause[0] if cause else type(error).__name__
    remedy = "Check DATABASE_URL, then run `ittybatch doctor`."
    if "no such" in detail or "does not exist" in detail:
        remedy = "Run `ittybatch db upgrade`."
    elif "read-only transaction" in detail:
        remedy = (
            "The server accepts no writes, as a standby does. Set DATABASE_URL to the primary, "
            "then run `ittybatch doctor`."
        )
    elif "pooling mode" in detail:
        remedy = "Set pool_mode = transaction, or session, for this database in the pooler."
    return LedgerUnavailable(f"The ledger at {where} cannot be used: {detail}.", remedy=remedy)
