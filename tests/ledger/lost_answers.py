"""A database that commits, and is gone before it says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from sqlalchemy.exc import OperationalError

from ittybatch.ledger import Ledger, Transaction


@contextmanager
def one_answer_lost(ledger: Ledger) -> Iterator[None]:
    """Within the block, the answer to the first COMMIT is lost, so its transition is repeated."""
    begin = ledger._begin
    left = [1]

    @contextmanager
    def losing(*, write: bool) -> Iterator[Transaction]:
        with begin(write=write) as transaction:
            yield transaction
        if write and left:
            left.clear()
            gone = ConnectionError("server closed the connection unexpectedly")
            raise OperationalError("COMMIT", None, gone, connection_invalidated=True)

    with patch.object(ledger, "_begin", losing):
        yield
    assert not left, "something was committed"
