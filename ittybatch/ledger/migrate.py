"""Bringing the ledger's tables up to date."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from ittybatch.ledger.database import Ledger, LedgerUnavailable, Transaction


def upgrade(ledger: Ledger) -> str:
    """Bring the ledger to the newest revision, in one transaction. Safe to repeat.

    Returns:
        The revision it is at now.

    Raises:
        LedgerUnavailable: when the database cannot be reached, or the tables stay in use.
    """

    def migrate(transaction: Transaction) -> None:
        transaction.serialise("migration")
        config = _config()
        config.attributes["connection"] = transaction.connection
        command.upgrade(config, "head")

    try:
        ledger.write(migrate)
    except LedgerUnavailable as error:
        if "deadlock" not in error.message and "lock timeout" not in error.message:
            raise
        raise LedgerUnavailable(
            "The tables are in use, so they could not be changed. Nothing was changed: "
            f"{error.message}",
            remedy="Run `ittybatch db upgrade` again; if that fails, too, stop receivers and "
            "workers first. Webhooks are sent again by Ittybit.",
        ) from error
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
