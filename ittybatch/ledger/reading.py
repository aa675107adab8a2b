"""Reads that may not take long: a page must not hold a connection that webhooks wait for."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from ittybatch.ledger.database import Transaction

P = ParamSpec("P")
R = TypeVar("R")


def bounded(
    query: Callable[Concatenate[Transaction, P], R], most_s: float
) -> Callable[Concatenate[Transaction, P], R]:
    """Bound each statement of a query in time, on Postgres.

    SQLite has no such limit, and needs none here: its readers block no writer.

    Args:
        query: The query.
        most_s: Seconds after which the server ends a statement with an error.
    """

    def run(transaction: Transaction, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if transaction.postgres:
            # For this transaction alone, also behind a pooler.
            transaction.connection.exec_driver_sql(
                f"SET LOCAL statement_timeout = {most_s * 1000:.0f}"
            )
        return query(transaction, *args, **kwargs)

    return run
