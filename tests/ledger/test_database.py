"""The database in trouble: nothing half done, and a clear word about it."""

from datetime import datetime, timedelta, tzinfo

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select, text

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.database import LedgerUnavailable, create_ledger_engine
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.migrate import current_revision, newest_revision, upgrade
from ittybatch.ledger.models import Base, Delivery
from ittybatch.ledger.submission import claim_due, unanswered
from tests.ledger import library


def test_a_crash_inside_a_claim_leaves_the_job_planned(ledger: Ledger) -> None:
    """Nothing was sent, for nothing was committed."""
    chunk = library.released_chunk(ledger, library.planned_batch(ledger, library.job("a.mov")))

    def die_after_claiming(tx: Transaction) -> None:
        claim_due(tx, chunk, 10)
        raise MemoryError

    with pytest.raises(MemoryError):
        ledger.write(die_after_claiming)
    assert ledger.read(unanswered, chunk) == []
    assert library.place(ledger, chunk).planned == 1


def test_a_full_disk_is_told_and_keeps_what_was_there(sqlite_url: str) -> None:
    """The receiver answers 503 to it, so that Ittybit sends again."""
    ledger = Ledger(create_ledger_engine(sqlite_url), patience_s=0.2)
    kept = Arrival(b"kept", library.remote("task-0"))
    ledger.write(receive, [kept])

    def fill(tx: Transaction) -> None:
        # As many pages as there are: the next one is one too many, as on a full disk.
        pages = tx.execute(text("PRAGMA page_count")).scalar_one()
        tx.execute(text(f"PRAGMA max_page_count={pages}"))
        receive(tx, [Arrival(b"x" * 500_000, library.remote("task-1"))])

    with pytest.raises(LedgerUnavailable, match="full"):
        ledger.write(fill)
    rows = ledger.read(lambda tx: tx.rows(select(Delivery.body)))
    assert [row.body for row in rows] == [b"kept"]
    ledger.close()


def test_a_database_that_is_away_is_named_without_its_password() -> None:
    """With the command to run next."""
    url = "postgresql+psycopg://ittybatch:hidden-word@127.0.0.1:9/ledger"
    ledger = Ledger(create_ledger_engine(url), patience_s=0.2)
    with pytest.raises(LedgerUnavailable) as told:
        ledger.write(lambda tx: tx.now)
    assert "127.0.0.1:9/ledger" in str(told.value)
    assert "ittybatch doctor" in str(told.value)
    assert "hidden-word" not in str(told.value)


def test_missing_tables_name_the_command_that_makes_them(tmp_path: object) -> None:
    """Before the first `db upgrade`."""
    ledger = Ledger(create_ledger_engine(f"sqlite:///{tmp_path}/new.db"), patience_s=0.2)
    with pytest.raises(LedgerUnavailable, match="ittybatch db upgrade"):
        library.new_batch(ledger)
    assert upgrade(ledger) == newest_revision()
    assert upgrade(ledger) == newest_revision(), "and again, safely"
    assert ledger.read(current_revision) == newest_revision()
    library.new_batch(ledger)
    ledger.close()


def test_machines_whose_clocks_differ_share_the_databases_clock(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease or a backoff means the same to all of them."""

    class TenMinutesFast(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "TenMinutesFast":
            return super().now(tz) + timedelta(minutes=10)

    ledger = Ledger(create_ledger_engine(postgres_url))
    before = ledger.read(lambda tx: tx.now)
    monkeypatch.setattr("ittybatch.ledger.database.datetime", TenMinutesFast)
    assert ledger.read(lambda tx: tx.now) - before < timedelta(minutes=1)
    ledger.close()


def test_the_models_and_the_migrations_agree(ledger: Ledger) -> None:
    """A column that only one of them knows would fail at three in the morning."""

    def differences(tx: Transaction) -> list[object]:
        context = MigrationContext.configure(tx.connection)
        return list(compare_metadata(context, Base.metadata))

    assert ledger.read(differences) == []
