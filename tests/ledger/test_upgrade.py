"""An upgrade while batches are under way: webhooks wait for it, and nobody gives up."""

import threading
import time

import pytest
from alembic import command
from sqlalchemy import text, update

from ittybatch.ledger import Ledger, Transaction, migrate
from ittybatch.ledger.database import LedgerUnavailable, create_ledger_engine
from ittybatch.ledger.models import Chunk, Job
from tests.ledger import library

BEFORE = "0007"


def step_back(transaction: Transaction) -> None:
    """Take the tables back to those of an earlier version."""
    config = migrate._config()
    config.attributes["connection"] = transaction.connection
    command.downgrade(config, BEFORE)


def waiting_for_locks(transaction: Transaction) -> int:
    """Sessions that wait for a lock of a table."""
    found = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
    return int(transaction.execute(text(found)).scalar_one())


def test_a_settlement_under_way_and_an_upgrade_do_not_deadlock(postgres_url: str) -> None:
    """It has changed its job, and changes the job's chunk next; the upgrade is between the two."""
    ledger = Ledger(create_ledger_engine(postgres_url), patience_s=20)
    chunk, [submission] = library.submitted(ledger, library.job("a.mov"))
    ledger.write(step_back)
    other = Ledger(create_ledger_engine(postgres_url), patience_s=0.01)
    upgrading = threading.Thread(target=migrate.upgrade, args=(ledger,))

    def settle(transaction: Transaction) -> None:
        transaction.execute(update(Job).where(Job.id == submission.job_id).values(attempt=1))
        upgrading.start()
        deadline = time.monotonic() + 30
        while not ledger.read(waiting_for_locks):
            assert time.monotonic() < deadline, "the upgrade has not come to the jobs"
            time.sleep(0.05)
        transaction.execute(update(Chunk).where(Chunk.id == chunk).values(retried=1))

    # Without patience: a deadlock would be an error.
    other.write(settle)
    upgrading.join(timeout=60)
    assert ledger.read(migrate.current_revision) == migrate.newest_revision()
    assert library.place(ledger, chunk).retried == 1
    other.close()
    ledger.close()


def test_tables_that_stay_in_use_are_told_as_such(postgres_url: str) -> None:
    """What was changed: nothing. And what to do: the same again, or stop the others first."""
    ledger = Ledger(create_ledger_engine(postgres_url), patience_s=0.5)
    library.planned_batch(ledger, library.job("a.mov"))
    ledger.write(step_back)
    holder = Ledger(create_ledger_engine(postgres_url), patience_s=0.01)

    def hold(transaction: Transaction) -> None:
        transaction.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        transaction.execute(update(Job).values(attempt=0))
        with pytest.raises(LedgerUnavailable, match=r"in use.*Nothing was changed") as told:
            migrate.upgrade(ledger)
        assert "`ittybatch db upgrade` again" in str(told.value)

    holder.write(hold)
    assert ledger.read(migrate.current_revision) == BEFORE
    holder.close()
    ledger.close()
