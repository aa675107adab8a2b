"""Tells what an error of a user's database is about: one row, all of them, or nobody knows."""

from typing import Any, Final

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    SQLAlchemyError,
)

# Classes of SQLSTATE that concern the row: bad data, a constraint, a trigger's own exception (also
# PostgREST's PT and the standard's 45), a view's CHECK OPTION, a row too large for an index.
_ROW_STATES: Final = ("22", "23", "27", "44", "45", "54", "09", "P0", "PT")
# Classes that concern all: connection, sign-in, a read-only server, a deadlock, a full or
# restarting server, its files.
_SERVER_STATES: Final = ("08", "25", "28", "3D", "40", "53", "57P", "58")
# A statement that cannot run: no such table or column, no GRANT. In a function it may be another
# statement, which not every row leads to.
_STATEMENT_STATES: Final = ("3F", "42")
_NO_PRIVILEGE: Final = "42501"
# MySQL reports these about a row as operational errors: a wrong date or time, no default, a wrong
# value, SIGNAL in a trigger, bad JSON, and CHECK, also MariaDB's.
_MYSQL_ROW_ERRORS: Final = frozenset({1292, 1364, 1366, 1644, 3140, 3819, 4025})
# Too many connections, sign-in, no database, no column, no GRANT, no table, deadlock, read only.
_MYSQL_SERVER_ERRORS: Final = frozenset(
    {1040, 1044, 1045, 1049, 1054, 1142, 1143, 1146, 1213, 1290, 1792, 1836}
)
# Numbers of MySQL's clients: about the connection.
_MYSQL_CLIENT: Final = range(2000, 3000)
# https://www.sqlite.org/rescode.html: the only code that may be about a row. Others are a locked,
# full or damaged file.
_SQLITE_ERROR: Final = 1
_SQLITE_STATEMENT: Final = ("no such ", " has no column ")


def is_refused(error: Exception) -> bool:
    """Whether the database refuses this row, and would take others."""
    if isinstance(error, (DataError, IntegrityError)):
        return True
    if not isinstance(error, DBAPIError):
        # A value that the driver or SQLAlchemy cannot send, such as a number beyond 64 bits.
        return not isinstance(error, SQLAlchemyError) or hasattr(error, "statement")
    if error.connection_invalidated:
        return False
    if _number(error) in _MYSQL_ROW_ERRORS:
        return True
    state = _state(error)
    # The same state as a missing GRANT, but row-level security concerns the row.
    security = state == _NO_PRIVILEGE and "row-level security" in str(error.orig)
    return security or state.startswith(_ROW_STATES)


def concerns_all(error: Exception) -> bool:
    """Whether an error that refuses no row would be the same for every row.

    Of any other it is unknown: a lock, a timeout or a function may concern one row.
    """
    if not isinstance(error, DBAPIError) or error.connection_invalidated:
        return True
    if state := _state(error):
        in_function = bool(getattr(getattr(error.orig, "diag", None), "context", None))
        return state.startswith(_SERVER_STATES) or (
            state.startswith(_STATEMENT_STATES) and not in_function
        )
    if (code := getattr(error.orig, "sqlite_errorcode", None)) is not None:
        text = str(error.orig)
        return code != _SQLITE_ERROR or any(each in text for each in _SQLITE_STATEMENT)
    if (number := _number(error)) is not None:
        return number in _MYSQL_SERVER_ERRORS or number in _MYSQL_CLIENT
    # Postgres's driver has no state for a connection that failed.
    return isinstance(error, OperationalError)


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _number(error: DBAPIError) -> int | None:
    """The number of MySQL's drivers."""
    args: tuple[Any, ...] = getattr(error.orig, "args", ())
    return args[0] if args[:1] != () and isinstance(args[0], int) else None
