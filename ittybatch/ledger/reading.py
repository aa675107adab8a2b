"""Reads that may not take long: a page must not hold a connection that webhooks wait for."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError

from ittybatch.ledger.database import LedgerUnavailable, Transaction

P = ParamSpec("P")
R = TypeVar("R")

# Postgres: a statement that was stopped, as by its timeout.
_STOPPED = "57014"


class TookTooLong(LedgerUnavailable):
    """A statement took longer than somebody waits."""


def bounded(
    query: Callable[Concatenate[Transaction, P], R], most_s: float
) -> Callable[Concatenate[Transaction, P], R]:
    """Bound each statement of a query in time, on Postgres.

    SQLite has no such limit, and needs none here: its readers block no writer.

    Args:
        query: The query.
        most_s: Seconds after which the server ends a statement.

    Returns:
        The query, which raises `TookTooLong` then.
    """

    def run(transaction: Transaction, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if transaction.postgres:
            # For this transaction alone, also behind a pooler.
            transaction.connection.exec_driver_sql(
                f"SET LOCAL statement_timeout = {most_s * 1000:.0f}"
            )
        try:
            return query(transaction, *args, **kwargs)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _STOPPED:
                raise
            raise TookTooLong(
                f"The ledger was still looking after {most_s:g} s, so the look was stopped. "
                "Nothing is lost, and nothing was changed.",
                remedy="Narrow the filter, such as to one batch, or try again later.",
            ) from error

    return run
