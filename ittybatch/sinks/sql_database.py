"""Opens a user's database, within bounds of time."""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from ittybatch.errors import ConfigurationError
from ittybatch.ittybit.redaction import redacted
from ittybatch.sinks.base import SinkUnavailable
from ittybatch.sinks.mysql_url import as_driver

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 10
_LOCK_TIMEOUT_S = 5
_POSTGRES = frozenset({"postgres", "postgresql"})
_MYSQL = frozenset({"mysql", "mariadb"})
# Modules of MySQL's drivers, and what SQLAlchemy calls them.
_MYSQL_DRIVERS = {"pymysql": "pymysql", "MySQLdb": "mysqldb"}
# Parameters of Prisma and of Supabase's pooler that libpq does not know.
_NOT_LIBPQ = (
    *("schema", "pgbouncer", "connection_limit", "pool_timeout", "socket_timeout"),
    *("statement_cache_size", "sslaccept", "sslidentity", "supa", "workaround"),
)
_MAX_MESSAGE = 500
_POSTGRES_LIMITS = {
    "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
    "lock_timeout": f"{_LOCK_TIMEOUT_S}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_TIMEOUT_S}s",
}
# Times are written as UTC, and a TIMESTAMP column reads them in the session's time zone. A wait for
# a lock ends before the driver's timeout, which would end the connection.
_MYSQL_SESSION = f"SET time_zone = '+00:00', innodb_lock_wait_timeout = {_LOCK_TIMEOUT_S}"


class Database:
    """A database of the user's, with at most one connection.

    Args:
        sink: The sink's name, for messages.
        url: The database's URL, as the user has it.

    Raises:
        ConfigurationError: The URL cannot be used, or its driver is not installed.
    """

    def __init__(self, sink: str, url: str) -> None:
        self._sink = sink
        parsed = _parse(url, sink)
        schema = parsed.query.get("schema") if parsed.drivername in _POSTGRES else None
        self.schema = schema if isinstance(schema, str) else None
        passwords = [value for name, value in parsed.query.items() if "pass" in name.lower()]
        self._secrets = [str(parsed.password or ""), *map(str, passwords)]
        self._parameters = ", ".join(parsed.query)
        try:
            self.engine = _engine(parsed, sink)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001  drivers have any error for a parameter
            raise self._unusable(error) from None
        event.listen(self.engine, "do_connect", self._connect)

    @property
    def backend(self) -> str:
        """`postgresql`, `sqlite`, `mysql` or `mariadb`."""
        return self.engine.dialect.name

    @property
    def shown(self) -> str:
        """The database for messages, without user and password."""
        url = self.engine.url
        shown = URL.create(url.get_backend_name(), None, None, url.host, url.port, url.database)
        return shown.render_as_string()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run a transaction.

        Raises:
            SQLAlchemyError: As SQLAlchemy raises it; `sql_errors` tells what it is about.
        """
        with self.engine.begin() as connection:
            yield connection

    def require_answer(self) -> None:
        """Ask the database for an answer.

        Raises:
            SQLAlchemyError: It gives none.
        """
        with self.transaction() as connection:
            connection.execute(select(1))

    def unavailable(self, error: Exception) -> SinkUnavailable:
        """Describe an error that concerns the whole database or table."""
        return SinkUnavailable(
            f"The sink {self._sink!r} cannot write to {self.shown}: {self.describe(error)}.",
            remedy="Its results wait in the ledger and are delivered once it can. To test it: "
            "ittybatch doctor",
        )

    def describe(self, error: Exception) -> str:
        """Return the database's own message on one line, without credentials."""
        cause = getattr(error, "orig", None) or error
        text = " ".join(str(cause).split())
        return redacted(text, *self._secrets)[:_MAX_MESSAGE].rstrip(".")

    def close(self) -> None:
        """Close the connection. It is opened again when needed."""
        self.engine.dispose()

    def _connect(
        self,
        dialect: Dialect,
        _: object,
        args: Sequence[Any],
        options: Mapping[str, Any],
    ) -> DBAPIConnection:
        """Connect, and tell an error that is not the driver's own: it is about its arguments."""
        try:
            return dialect.connect(*args, **options)
        except dialect.loaded_dbapi.Error:
            raise
        except Exception as error:  # noqa: BLE001  drivers have any error for a parameter
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> ConfigurationError:
        has = f"Its parameters are: {self._parameters}. " if self._parameters else ""
        return ConfigurationError(
            f"The `url` of the sink {self._sink!r} cannot be used: {type(error).__name__}: "
            f"{self.describe(error)}.",
            remedy=f"{has}Keep those that the driver knows, and start the receiver again. The "
            "results wait in the ledger.",
        )


def has_password(url: str) -> bool:
    """Whether a URL contains a password, which belongs into the environment."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return False
    return parsed.password is not None or any("pass" in name.lower() for name in parsed.query)


def _parse(url: str, sink: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # The driver's message may contain the password.
        raise ConfigurationError(
            f"The `url` of the sink {sink!r} is not a database's URL.",
            remedy="Write it like postgresql://user:password@host:5432/database.",
        ) from None


def _engine(url: URL, sink: str) -> Engine:
    if url.get_backend_name() in _POSTGRES or url.drivername in _POSTGRES:
        return _postgres_engine(url)
    if url.get_backend_name() == "sqlite":
        return create_engine(
            _existing(url),
            hide_parameters=True,
            connect_args={"timeout": CONNECT_TIMEOUT_S, "check_same_thread": False},
        )
    if url.get_backend_name() in _MYSQL:
        return _mysql_engine(url, sink)
    raise ConfigurationError(
        f"The sink {sink!r} cannot write to a {url.get_backend_name()} database.",
        remedy="Sinks of the kind `sql` write to Postgres, SQLite and MySQL.",
    )


def _postgres_engine(url: URL) -> Engine:
    url = url.difference_update_query(_NOT_LIBPQ).set(drivername="postgresql+psycopg")
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            # Behind a pooler, the next transaction may run in another session.
            "prepare_threshold": None,
            "tcp_user_timeout": STATEMENT_TIMEOUT_S * 1000,
            "keepalives_idle": STATEMENT_TIMEOUT_S,
        },
    )

    @event.listens_for(engine, "begin")
    def limit(connection: Connection) -> None:
        # For the transaction only: poolers refuse these settings when a session starts.
        calls = ", ".join(f"set_config('{name}', %s, true)" for name in _POSTGRES_LIMITS)
        connection.exec_driver_sql(f"SELECT {calls}", tuple(_POSTGRES_LIMITS.values()))

    return engine


def _mysql_engine(url: URL, sink: str) -> Engine:
    if "+" not in url.drivername:
        for module, driver in _MYSQL_DRIVERS.items():
            if importlib.util.find_spec(module):
                url = url.set(drivername=f"{url.drivername}+{driver}")
                break
        else:
            raise _no_driver(url, sink)
    limits: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S}
    limits |= {"read_timeout": STATEMENT_TIMEOUT_S, "write_timeout": STATEMENT_TIMEOUT_S}
    url, encryption = as_driver(url)
    try:
        engine = create_engine(
            url,
            hide_parameters=True,
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={**limits, **encryption},
        )
    except ImportError:
        raise _no_driver(url, sink) from None
    # Not `init_command`: the user's URL may have one.
    event.listen(engine, "connect", _begin_mysql_session)
    return engine


def _begin_mysql_session(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(_MYSQL_SESSION)
    finally:
        cursor.close()


def _no_driver(url: URL, sink: str) -> ConfigurationError:
    return ConfigurationError(
        f"The sink {sink!r} needs a driver for {url.get_backend_name()}, and none is installed.",
        remedy="Install one beside ittybatch: pip install pymysql",
    )


def _existing(url: URL) -> URL:
    """Keep SQLite from creating a file that does not exist."""
    if not url.database or url.database == ":memory:" or "uri" in url.query:
        return url
    path = quote(str(Path(url.database).absolute()))
    return url.set(database=f"file:{path}").update_query_dict({"mode": "rw", "uri": "true"})
