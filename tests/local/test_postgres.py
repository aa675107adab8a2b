"""The embedded PostgreSQL, for real, also as root."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from ittybatch_local.errors import StackError
from ittybatch_local.postgres import PostgresCluster
from ittybatch_local.supervisor import Supervisor


@pytest.fixture(scope="module")
def made_once() -> Iterator[Path]:
    """Data that each test copies, because `initdb` takes a second."""
    folder = Path(tempfile.mkdtemp(prefix="ittybatch-stack-"))
    folder.chmod(0o755)
    PostgresCluster(folder / "postgres", 1, "a-password").prepare()
    yield folder / "postgres"
    shutil.rmtree(folder)


@pytest.fixture
def cluster(home: Path, port: int, made_once: Path) -> PostgresCluster:
    # With its owner, which is not root.
    subprocess.run(["cp", "-a", str(made_once), str(home / "postgres")], check=True)
    copy = PostgresCluster(home / "postgres", port, "a-password")
    copy.prepare()
    return copy


def _launch(supervisor: Supervisor, cluster: PostgresCluster) -> None:
    log = cluster.data.with_name("postgres.log")
    supervisor.launch(cluster.spec(log, dict(os.environ)))
    supervisor.await_ready("postgres")


def _run(cluster: PostgresCluster, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(cluster.url("ledger")) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def test_two_databases_outlive_a_crash_and_a_restart(
    supervisor: Supervisor, cluster: PostgresCluster
) -> None:
    """Commits survive SIGKILL."""
    _launch(supervisor, cluster)
    cluster.create_databases(("prefect", "ledger"))
    cluster.create_databases(("prefect", "ledger"))
    _run(cluster, "CREATE EXTENSION pg_trgm")
    _run(cluster, "CREATE TABLE jobs AS SELECT 41 AS id")

    supervisor.kill("postgres", signal.SIGKILL)
    supervisor.await_ready("postgres")
    assert _run(cluster, "SELECT id FROM jobs") == [(41,)]

    supervisor.restart("postgres")
    assert _run(cluster, "SELECT id FROM jobs") == [(41,)]


def test_a_connection_needs_the_password(supervisor: Supervisor, cluster: PostgresCluster) -> None:
    """Other accounts of the machine reach the port, not the data."""
    _launch(supervisor, cluster)
    stranger = PostgresCluster(cluster.data, cluster.port, "a-guess")
    with pytest.raises(StackError, match="refuses this stack's password") as caught:
        stranger.answers()
    assert "a-guess" not in str(caught.value)


def test_a_stale_pid_file_whose_number_is_anothers_is_dropped(
    supervisor: Supervisor, cluster: PostgresCluster
) -> None:
    """After a reboot the number may belong to any process, here to this one."""
    (cluster.data / "postmaster.pid").write_text(f"{os.getpid()}\n{cluster.data}\n")
    cluster.prepare()
    _launch(supervisor, cluster)
    assert supervisor.pid("postgres") != os.getpid()


def test_a_server_that_outlived_its_stack_is_ended(
    cluster: PostgresCluster, home: Path, until: Callable[..., None]
) -> None:
    """No second server opens its data."""
    spec = cluster.spec(home / "postgres.log", dict(os.environ))
    with (home / "leftover.log").open("wb") as log:
        leftover = subprocess.Popen(
            spec.command, cwd=cluster.data, user=cluster.user, stdout=log, stderr=log
        )
    until(cluster.answers)
    cluster.prepare()
    until(lambda: leftover.poll() is not None)
    assert not (cluster.data / "postmaster.pid").exists()


def test_data_of_another_version_is_refused_untouched(cluster: PostgresCluster) -> None:
    """The message says how to read it."""
    (cluster.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(StackError, match=r"PostgreSQL 17 created the database.* version is 18"):
        cluster.prepare()


def test_a_first_start_that_was_cut_short_leaves_nothing_half_made(home: Path, port: int) -> None:
    """Only complete data get the final name."""
    draft = home / "postgres.new"
    draft.mkdir()
    (draft / "PG_VERSION").write_text("18\n")
    cluster = PostgresCluster(home / "postgres", port, "a-password")
    cluster.prepare()
    assert not draft.exists()
    assert not (home / "postgres.password").exists()
    assert (cluster.data / "global").is_dir()
