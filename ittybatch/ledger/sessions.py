"""Sessions with Postgres: timeouts on both sides, connection poolers, and COPY.

A machine that loses its network inside a transaction keeps its row locks until the server ends
its session. With the default timeouts that takes hours, and blocks everyone else.
"""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import InvalidatePoolError

from ittybatch.errors import ConfigurationError

POOL_SIZE = 4
_CONNECT_TIMEOUT_S = 10
_POOLED = "ittybatch_pooled"
_CHECKED_AT = "ittybatch_checked_at"
# A connection that was used less than this long ago is used again without asking whether the
# server still has it.
_CHECK_AFTER_S = 1.0
# The execution option that carries the rows of a COPY ... FROM STDIN.
COPIED_ROWS = "ittybatch_copied_rows"
# Postgres: a write in a transaction that may only read, as on a standby.
_READ_ONLY = "25006"
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_REMEDIES = {
    "schema": "Remove it. The ledger is in the first schema of the role's search_path: "
    "`ALTER ROLE ... SET search_path` changes that.",
    "connection_limit": f"Remove it. A process opens {POOL_SIZE} connections, rarely more.",
    "pool_timeout": "Remove it. ITTYBATCH_DB_LOCK_TIMEOUT_S limits the wait for locks.",
    "statement_cache_size": "Remove it. Behind PgBouncer, write pgbouncer=true.",
    "ssl": "Write sslmode=require in its place.",
}


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a lost machine may block the others.

    Args:
        idle_transaction_s: The server ends a session that is idle for this long inside a
            transaction, and rolls the transaction back.
        lock_s: A statement that waits for a lock for this long fails, and is retried.
        network_s: Each side closes a connection whose other side acknowledges nothing for
            about this long.
    """

    idle_transaction_s: float = 10.0
    lock_s: float = 5.0
    network_s: int = 20

    @property
    def of_transactions(self) -> dict[str, str]:
        """Server settings that any transaction may set for itself."""
        return {
            "idle_in_transaction_session_timeout": f"{self.idle_transaction_s * 1000:.0f}ms",
            "lock_timeout": f"{self.lock_s * 1000:.0f}ms",
        }

    @property
    def of_sessions(self) -> dict[str, str]:
        """All server settings of a session that is not pooled."""
        return {
            **self.of_transactions,
            **{f"tcp_{name}": str(value) for name, value in self._keepalives.items()},
            "tcp_user_timeout": f"{self.network_s}s",
        }

    @property
    def of_clients(self) -> dict[str, int]:
        """Parameters of libpq with which the client detects a lost server."""
        return {
            "connect_timeout": _CONNECT_TIMEOUT_S,
            **self._keepalives,
            "tcp_user_timeout": self.network_s * 1000,
        }

    @property
    def _keepalives(self) -> dict[str, int]:
        return {
            "keepalives_idle": max(1, self.network_s // 2),
            "keepalives_interval": max(1, self.network_s // 6),
            "keepalives_count": 3,
        }


def create_postgres_engine(url: URL, limits: SessionLimits) -> Engine:
    """Make an engine whose sessions have these limits, directly or through a pooler.

    Raises:
        ConfigurationError: when the URL has parameters that are not Postgres's.
    """
    declared_pooled = str(url.query.get("pgbouncer", "")).lower() in {"true", "1"}
    url = url.difference_update_query(["pgbouncer"])
    _check_parameters(url)
    engine = create_engine(
        url,
        # Rows hold users' data, which must not appear in the text of an error.
        hide_parameters=True,
        pool_size=POOL_SIZE,
        connect_args=limits.of_clients,
    )

    def set_up(connection: Any, record: Any) -> None:  # noqa: ANN401  psycopg's, SQLAlchemy's
        with connection.cursor() as cursor:
            if declared_pooled or _is_pooled(connection, cursor):
                record.info[_POOLED] = True
                # The next transaction may run in another session, without the prepared statement.
                connection.prepare_threshold = None
            else:
                _set(cursor.execute, limits.of_sessions, local=False)
        connection.commit()

    def check(connection: Any, record: Any, _proxy: Any) -> None:  # noqa: ANN401  as above
        # Not each time, as `pool_pre_ping` does: for a busy process it is one round trip in ten.
        now = time.monotonic()
        if now - record.info.get(_CHECKED_AT, now) > _CHECK_AFTER_S:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise InvalidatePoolError from error  # the others are gone, too
        record.info[_CHECKED_AT] = now

    def begin(connection: Connection) -> None:
        if connection.info.get(_POOLED):
            _set(connection.exec_driver_sql, limits.of_transactions, local=True)

    event.listen(engine, "connect", set_up)
    event.listen(engine, "checkout", check)
    event.listen(engine, "begin", begin)
    event.listen(engine, "do_execute", _copy)
    event.listen(engine, "handle_error", _leave_standby)
    return engine


def _leave_standby(context: ExceptionContext) -> None:
    """Drop all connections to a server that accepts no writes: after a failover, another one does.

    The transaction was rolled back, and is made again on a new connection.
    """
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


def _copy(cursor: Any, statement: str, _parameters: Any, context: Any) -> bool:  # noqa: ANN401
    """Run a statement that carries rows as a psycopg COPY; leave the others to SQLAlchemy.

    It replaces SQLAlchemy's own call, so that SQLAlchemy handles its errors as for any statement.
    """
    rows = context.execution_options.get(COPIED_ROWS)
    if rows is None:
        return False
    with cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
    return True


def _is_pooled(connection: Any, cursor: Any) -> bool:  # noqa: ANN401  psycopg's
    """Whether a pooler is in between: statements run in another backend than we connected to."""
    cursor.execute("SELECT pg_backend_pid()")
    return bool(cursor.fetchone()[0] != connection.info.backend_pid)


def _set(execute: Any, values: dict[str, str], *, local: bool) -> None:  # noqa: ANN401
    # Poolers refuse them as `options` of the startup packet.
    calls = ", ".join(f"set_config('{name}', %s, {str(local).lower()})" for name in values)
    execute(f"SELECT {calls}", tuple(values.values()))


def _check_parameters(url: URL) -> None:
    from psycopg import pq  # noqa: PLC0415  SQLite does not need it

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    for name in url.query:
        if name not in known:
            raise ConfigurationError(
                f"DATABASE_URL cannot be used: its parameter {name!r} is not one of PostgreSQL's.",
                remedy=_REMEDIES.get(name, "Remove it from DATABASE_URL."),
            )
    mode = url.query.get("sslmode", "prefer")
    if mode not in _SSL_MODES:
        raise ConfigurationError(
            f"DATABASE_URL cannot be used: sslmode is {mode!r}.",
            remedy=f"Write one of {', '.join(_SSL_MODES)}.",
        )
