"""Statements for many rows, written out at their first use."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from sqlalchemy import Integer, select

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.bulk import BulkQuery


class SlowColumns(dict[str, Any]):
    """Columns that take their time, so that two threads meet while the statement is written."""

    def __iter__(self) -> Iterator[str]:
        time.sleep(0.1)
        return super().__iter__()

    def items(self) -> Any:  # noqa: ANN401  a view of them
        """As any mapping's."""
        time.sleep(0.1)
        return super().items()


def test_two_threads_may_use_a_statement_for_the_first_time_at_once(ledger: Ledger) -> None:
    """The second waits until the statement is whole."""
    columns = SlowColumns(number=Integer)
    query = BulkQuery(columns, lambda given: select(given.c.number * 2))
    together = Barrier(2)

    def meet_and_fetch(tx: Transaction, number: int) -> Sequence[Sequence[Any]]:
        together.wait(10)
        time.sleep(0.05 * number)
        return query.fetch(tx, [{"number": number}])

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda number: ledger.read(meet_and_fetch, number), (0, 1)))
    assert [[list(row) for row in rows] for rows in found] == [[[0]], [[2]]]
