"""Whether anything has changed since the last look, for the cost of almost nothing.

On SQLite, `PRAGMA data_version` of a kept connection says whether any other connection has
committed. Postgres has nothing like it for one database: a look there compares the position of
the write-ahead log, which stands still while nobody writes to the server, and then a digest of
what the pages show. Neither takes a lock. `NOTIFY` would take one at each webhook's commit.
"""

import hashlib
import sqlite3
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.exc import SQLAlchemyError

from ittybatch.ledger.counters import COLUMNS
from ittybatch.ledger.database import Ledger, LedgerUnavailable, Transaction
from ittybatch.ledger.models import Action, Batch, Chunk, Delivery, Follower, LastRun, Outbox, Sink
from ittybatch.ledger.reading import bounded
from ittybatch.ledger.states import BatchState, ChunkState

_MOST_S = 2.0
# More batches than that are never open; if they are, the others change within a minute anyway.
_MAX_BATCHES = 500
_OPEN_BATCHES = [state.value for state in BatchState if not state.ended]
_OPEN_CHUNKS = [state.value for state in ChunkState if state is not ChunkState.DONE]


class ChangeWatch:
    """Looks for changes. One thread at a time.

    Args:
        ledger: The ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._kept: sqlite3.Connection | None = None
        self._position: str | None = None
        self._digest = ""

    def look(self) -> str:
        """A text that differs from that of the last look if anything may have changed since.

        Raises:
            LedgerUnavailable: The database cannot be reached.
        """
        if self._ledger.engine.dialect.name == "sqlite":
            return self._data_version()
        return self._ledger.read(bounded(self._look, _MOST_S))

    def close(self) -> None:
        """Close the kept connection. A later look opens another."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _data_version(self) -> str:
        try:
            if self._kept is None:
                self._kept = self._open()
            return str(self._kept.execute("PRAGMA data_version").fetchone()[0])
        except (sqlite3.Error, SQLAlchemyError) as error:
            self.close()
            raise LedgerUnavailable(
                f"The ledger cannot be watched: {error}.", remedy="Run `ittybatch doctor`."
            ) from error

    def _open(self) -> sqlite3.Connection:
        # Not one of the pool: the number says what all connections but this have done.
        pooled = self._ledger.engine.raw_connection()
        connection = pooled.driver_connection
        pooled.detach()
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101  for the type checker
        return connection

    def _look(self, transaction: Transaction) -> str:
        position = str(transaction.execute(select(func.pg_current_wal_insert_lsn())).scalar_one())
        if position != self._position:
            digest = digest_of_shown(transaction)
            # After the digest: an error must not hide a change from the next look.
            self._position, self._digest = position, digest
        return self._digest


def digest_of_shown(transaction: Transaction) -> str:
    """A digest of what pages show: it differs when they do, with few exceptions.

    It costs a row for each open chunk, and a handful of look-ups.
    """
    found: list[Any] = [transaction.rows(query) for query in _queries()]
    return hashlib.sha256(repr(found).encode()).hexdigest()


def _queries() -> list[Select[Any]]:
    counters = [func.sum(getattr(Chunk, name)) for name in (*COLUMNS, "sent", "items")]
    return [
        select(func.count(), *counters).where(Chunk.state.in_(_OPEN_CHUNKS)),
        select(
            Batch.id,
            Batch.state,
            Batch.reason,
            Batch.counts,
            Batch.options,
            Batch.scan_done,
            Batch.canary_passed,
            Batch.trips,
            Batch.closed_until,
            Batch.why_ask,
            Batch.wants_room,
        )
        .where(Batch.state.in_(_OPEN_BATCHES))
        .order_by(Batch.id)
        .limit(_MAX_BATCHES),
        # Each of these has an index on its column, whose last entry is read.
        select(func.max(Chunk.id)),
        select(func.max(Delivery.received_at)),
        select(func.max(Outbox.id)),
        select(func.max(Follower.id)),
        select(func.max(Action.id)),
        select(
            Sink.name, Sink.active, Sink.failures, Sink.retry_at, Sink.last_delivered_at
        ).order_by(Sink.name),
        select(LastRun.name, LastRun.at).order_by(LastRun.name),
    ]
