"""Which database holds the ledger."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ittybatch_local import databases
from ittybatch_local.databases import Databases, choose_databases, holds_rows
from ittybatch_local.environment import write_environment
from ittybatch_local.errors import StackError
from ittybatch_local.postgres import PostgresCluster


@pytest.fixture
def _quick_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Creates only the data folder: these tests are about the choice, not the server."""
    monkeypatch.setattr(
        PostgresCluster, "prepare", lambda cluster, _: cluster.data.mkdir(exist_ok=True)
    )


def _choose(
    home: Path, events: list[str], port: int = 1, given_url: str | None = None
) -> Databases:
    cluster = PostgresCluster(home / "postgres", port, "password")
    return choose_databases(home, cluster, given_url=given_url, on_event=events.append)


def _sqlite_ledger(home: Path, *, rows: int) -> None:
    with closing(sqlite3.connect(home / "ledger.db")) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('1')")
        connection.execute("CREATE TABLE jobs (id INTEGER)")
        connection.executemany("INSERT INTO jobs VALUES (?)", [(n,) for n in range(rows)])


def test_both_databases_are_in_postgres(home: Path, events: list[str]) -> None:
    """The ordinary case."""
    chosen = _choose(home, events, port=7)
    assert chosen.cluster is not None
    assert chosen.ledger_url == "postgresql://ittybatch:password@127.0.0.1:7/ledger"
    assert chosen.prefect_url.startswith("postgresql+asyncpg://")
    assert "password" not in repr(chosen)


@pytest.mark.usefixtures("_quick_cluster")
def test_a_given_url_wins_for_the_ledger(home: Path, events: list[str]) -> None:
    """Prefect's tables stay in our own server."""
    chosen = _choose(home, events, given_url="postgresql://elsewhere/ledger")
    assert chosen.ledger_url == "postgresql://elsewhere/ledger"
    assert chosen.cluster is not None


def test_without_the_wheel_sqlite_is_used_and_said_so(
    home: Path, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stack runs where no wheel exists."""
    monkeypatch.setattr(databases, "is_installed", lambda: False)
    chosen = _choose(home, events)
    assert chosen.cluster is None
    assert chosen.ledger_url == f"sqlite:///{home}/ledger.db"
    assert chosen.prefect_url.startswith("sqlite+aiosqlite:///")
    assert "SQLite" in events[0]


def test_a_first_start_that_fails_falls_back(
    home: Path, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason."""

    def fail(*_: object) -> None:
        raise StackError("no room")

    monkeypatch.setattr(PostgresCluster, "prepare", fail)
    assert _choose(home, events).cluster is None
    assert "no room" in events[0]


@pytest.mark.usefixtures("_quick_cluster")
def test_a_ledger_in_postgres_is_never_silently_left(
    home: Path, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty SQLite ledger in its place would pay for every job again."""
    _choose(home, events)
    monkeypatch.setattr(databases, "is_installed", lambda: False)
    with pytest.raises(StackError, match="PostgreSQL is not installed"):
        _choose(home, events)


@pytest.mark.usefixtures("_quick_cluster")
def test_a_ledger_in_sqlite_is_never_silently_left(home: Path, events: list[str]) -> None:
    """Records from before the first stack count at every later start, too."""
    _sqlite_ledger(home, rows=1)
    for _ in range(2):
        chosen = _choose(home, events)
        assert chosen.ledger_url == f"sqlite:///{home}/ledger.db"
        assert chosen.cluster is not None
    assert len(events) == 1


@pytest.mark.usefixtures("_quick_cluster")
def test_an_empty_ledger_in_sqlite_does_not_count(home: Path, events: list[str]) -> None:
    """A `status` before the first stack must not bind it to SQLite."""
    _sqlite_ledger(home, rows=0)
    assert not holds_rows(home / "ledger.db")
    assert _choose(home, events).ledger_url.startswith("postgresql://")


def _last_stack(home: Path, ledger_url: str) -> None:
    (home / "secrets.json").write_text(json.dumps({"database_password": "password"}))
    write_environment(home / "stack.env", {"DATABASE_URL": ledger_url})


@pytest.mark.usefixtures("_quick_cluster")
def test_records_beside_those_of_the_stack_are_reported(home: Path, events: list[str]) -> None:
    """Commands of an earlier version began a ledger of their own while the stack was down."""
    _last_stack(home, "postgresql://ittybatch:password@127.0.0.1:9/ledger")
    _sqlite_ledger(home, rows=1)
    assert _choose(home, events).ledger_url == "postgresql://ittybatch:password@127.0.0.1:1/ledger"
    assert "ledger.db has records of commands" in events[0]


@pytest.mark.usefixtures("_quick_cluster")
def test_records_of_before_are_kept_though_prefect_has_had_its_postgres(
    home: Path, events: list[str]
) -> None:
    """The first start had a DATABASE_URL; the home's own records are in SQLite all the same."""
    _sqlite_ledger(home, rows=1)
    _choose(home, events, given_url="postgresql://elsewhere/ledger")
    assert _choose(home, events).ledger_url == f"sqlite:///{home}/ledger.db"


@pytest.mark.usefixtures("_quick_cluster")
def test_a_ledger_elsewhere_is_never_silently_left(home: Path, events: list[str]) -> None:
    """Without its DATABASE_URL the stack does not start; with another it says what that means."""
    _last_stack(home, "postgresql://me:hush@db.example.com/ledger")
    with pytest.raises(StackError, match=r"db\.example\.com/ledger") as refused:
        _choose(home, events)
    assert "Set DATABASE_URL" in str(refused.value)
    assert "hush" not in str(refused.value)
    assert events == []
    chosen = _choose(home, events, given_url="postgresql://other.example.com/ledger")
    assert chosen.ledger_url == "postgresql://other.example.com/ledger"
    assert "paid for again" in events[0]
    assert "hush" not in events[0]
