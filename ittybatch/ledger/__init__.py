"""The ledger: the SQL database that is the only truth about batches and jobs.

Every change of state is one named function in one of this package's modules, run in one
transaction by `Ledger.write`. Nothing else writes.
"""

from ittybatch.ledger.database import Ledger, Transaction, open_ledger

__all__ = ["Ledger", "Transaction", "open_ledger"]
