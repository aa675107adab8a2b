"""What all tests share: no settings but their own, and ledgers on both databases."""

import functools
import gc
import os
import shutil
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from ittybatch.ledger import Ledger, database
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.migrate import upgrade
from ittybatch_local.ports import choose_ports
from ittybatch_local.postgres import SERVER_OPTIONS, PostgresCluster
from ittybatch_local.supervisor import Supervisor

pytest_plugins = ["tests.aws", "tests.order"]

# Without bytecode each worker of each run compiles all tests: nine seconds of CPU each. This cannot
# be a fixture: pytest compiles tests before the first.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

OURS = ("ITTYBIT_", "ITTYBATCH_", "PREFECT_", "AWS_", "DATABASE_URL", "WEBHOOK_URL", "PORT")
TEMPLATE = "migrated"
# Tests kill processes, and no machine: what the kernel has is written. Waiting for the disk took
# most of the time of a test's database.
UNSYNCED = {"fsync": "off", "full_page_writes": "off"}


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A test means the same on every machine, whatever its owner has set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(OURS):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _imports_are_no_garbage() -> Iterator[None]:
    """Each receiver that starts looks through everything that tests import, once and no more."""
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        # It would thaw everything again.
        patch.setattr(gc, "unfreeze", lambda: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_read_once() -> Iterator[None]:
    """Each client of httpx would read all of them, although tests speak plain HTTP."""
    with pytest.MonkeyPatch.context() as patch:
        place = "httpx._transports.default.create_ssl_context"
        patch.setattr(place, functools.cache(httpx.create_ssl_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def _sqlite_does_not_wait_for_the_disk() -> Iterator[None]:
    usual = database._set_up_sqlite

    def unsynced(connection: sqlite3.Connection, record: object) -> None:
        usual(connection, record)
        connection.execute("PRAGMA synchronous=OFF")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_set_up_sqlite", unsynced)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """A real Postgres with the ledger's tables in a template database."""
    # Not pytest's own folder: PostgreSQL does not run as root, and must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="ittybatch-tests-"))
    folder.chmod(0o755)
    port = choose_ports(["postgres"], folder / "ports.json")["postgres"]
    cluster = PostgresCluster(folder / "postgres", port, uuid.uuid4().hex)
    cluster.prepare()
    try:
        with pytest.MonkeyPatch.context() as patch, Supervisor(lambda _: None) as supervisor:
            for name, value in UNSYNCED.items():
                patch.setitem(SERVER_OPTIONS, name, value)
            supervisor.launch(cluster.spec(folder / "postgres.log", dict(os.environ)))
            supervisor.await_ready("postgres")
            cluster.create_databases([TEMPLATE])
            template = Ledger(create_ledger_engine(cluster.url(TEMPLATE, scheme=PSYCOPG)))
            upgrade(template)
            template.close()
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


PSYCOPG = "postgresql+psycopg"


@contextmanager
def empty_postgres(postgres: PostgresCluster) -> Iterator[str]:
    """The URL of an empty ledger on Postgres, until the block ends."""
    name = f"ledger_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(TEMPLATE)
            )
        )
    yield postgres.url(name, scheme=PSYCOPG)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def postgres_url(postgres: PostgresCluster) -> Iterator[str]:
    """An empty ledger of its own on Postgres."""
    with empty_postgres(postgres) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite ledger to copy."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    ledger = Ledger(create_ledger_engine(f"sqlite:///{path}"))
    upgrade(ledger)
    ledger.close()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """An empty ledger of its own on SQLite."""
    path = tmp_path / "ledger.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty ledger, on each database in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger, on each database in turn."""
    opened = Ledger(create_ledger_engine(ledger_url), patience_s=5)
    yield opened
    opened.close()
