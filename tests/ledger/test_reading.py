"""A look of the page is stopped after a while, and says so."""

import pytest
from sqlalchemy import func, select

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.reading import TookTooLong, bounded


def test_a_look_that_takes_too_long_is_not_taken_for_a_broken_ledger(postgres_url: str) -> None:
    """It tells what to do, and the connection is used again."""
    ledger = Ledger(create_ledger_engine(postgres_url))

    def sleep(transaction: Transaction, seconds: float) -> int:
        return len(transaction.rows(select(func.pg_sleep(seconds))))

    with pytest.raises(TookTooLong, match=r"still looking after 0\.1 s.*Nothing is lost") as found:
        ledger.read(bounded(sleep, 0.1), 5.0)
    assert "Narrow the filter" in (found.value.remedy or "")
    assert "DATABASE_URL" not in str(found.value)
    assert ledger.read(bounded(sleep, 5.0), 0.0) == 1
    ledger.close()
