"""A process that locks a chunk of a ledger in a transaction, and waits inside it.

It prints a line once it holds the lock and one once its transaction has been committed.
"""

import sys

from sqlalchemy import update

from ittybatch.ledger import Transaction, open_ledger
from ittybatch.ledger.models import Chunk
from ittybatch.settings import Settings


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def _hold(transaction: Transaction, chunk: int) -> None:
    transaction.execute(update(Chunk).where(Chunk.id == chunk).values(sent=Chunk.sent + 1000))
    _say("locked")
    sys.stdin.readline()
    transaction.execute(update(Chunk).where(Chunk.id == chunk).values(retried=Chunk.retried + 1000))


ledger = open_ledger(Settings())
ledger.write(_hold, int(sys.argv[1]))
ledger.close()
_say("committed")
