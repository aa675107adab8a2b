"""Bringing the ledger's tables up to date."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from ittybatch.ledger.database import Ledger, Transaction


def upgrade(ledger: Ledger) -> str:
    """Bring the ledger to the newest revision, in one transaction. Safe to repeat.

    Returns:
        The revision it is at now.

    Raises:
        LedgerUnavailable: when the database cannot be reached.
    """

    def migrate(transaction: Transaction) -> None:
        transaction.serialise("migration")
        config = _config()
        config.attributes["connection"] = transaction.connection
        command.upgrade(config, "head")

    ledger.write(migrate)
    return newest_revision()


def newest_revision() -> str:
    """The revision that this version of ittybatch needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None  # noqa: S101  the package ships its migrations
    return head


def current_revision(transaction: Transaction) -> str | None:
    """The revision that the database is at, or None before the first."""
    return MigrationContext.configure(transaction.connection).get_current_revision()


def _config() -> Config:
    config = Config()
    # A percent sign in a path would be read as an interpolation.
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("path_separator", "os")
    return config
