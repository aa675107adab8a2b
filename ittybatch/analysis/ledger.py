"""The ledger that these functions read: that of the settings, or of the local stack that runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from ittybatch.engine.local_stack import join_local_stack
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.settings import Settings


@contextmanager
def opened_ledger() -> Iterator[Ledger]:
    """Open the ledger for one question, so that a notebook left open holds no connection.

    Raises:
        ConfigurationError: A setting cannot be used.
        LedgerUnavailable: The database cannot be reached.
    """
    join_local_stack()
    ledger = open_ledger(Settings())
    try:
        yield ledger
    finally:
        ledger.close()
