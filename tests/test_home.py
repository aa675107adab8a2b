"""The home: its permissions and its ledger."""

import json
import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ittybatch.engine.reports.places import whole
from ittybatch.errors import ConfigurationError
from ittybatch.home import make_private, private_folder
from ittybatch.ledger import open_ledger
from ittybatch.ledger.migrate import upgrade
from ittybatch.settings import Settings
from ittybatch_local.environment import write_environment
from ittybatch_local.lock import home_lock
from tests.command_line import typed

OWN_POSTGRES = "postgresql://ittybatch:c@127.0.0.1:15000/ledger"


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    """The umask of most accounts: everyone can read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_below(folder: Path) -> dict[str, str]:
    """Everything in a folder that others can access, with its mode."""
    paths = [folder, *folder.rglob("*")]
    return {str(path): f"{mode(path):o}" for path in paths if mode(path) & 0o077}


def test_the_tables_of_a_new_home_are_private(home: Path) -> None:
    """`db upgrade` is often the first command; SQLite gives its other files the same mode."""
    environment = {"PATH": os.environ["PATH"], "ITTYBATCH_HOME": str(home)}
    command = [sys.executable, "-m", "ittybatch", "db", "upgrade"]
    subprocess.run(command, env=environment, cwd=home.parent, check=True, timeout=60)
    assert (home / "ledger.db").exists()
    ledger = open_ledger(Settings(home=home))
    upgrade(ledger)
    assert (home / "ledger.db-wal").exists()
    assert open_below(home) == {}
    ledger.close()


def test_a_home_that_all_could_read_is_closed_with_a_line(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Homes of earlier versions; logged once."""
    caplog.set_level(logging.INFO)
    report = home / "batches" / "b1" / "report.json"
    report.parent.mkdir(parents=True)
    for path in (report, home / "ledger.db", home / "ledger.db-wal"):
        path.write_text("")
    for _ in range(2):
        open_ledger(Settings(home=home)).close()
    assert (mode(home), mode(home / "batches")) == (0o700, 0o700)
    assert (mode(home / "ledger.db"), mode(home / "ledger.db-wal")) == (0o600, 0o600)
    said = [each.getMessage() for each in caplog.records if each.name == "ittybatch.home"]
    assert said == [f"Closed {home} to other users of this machine."]


def test_a_home_that_its_group_shares_stays_the_groups(home: Path) -> None:
    """The set-group-ID bit says that it is intended; others get no access."""
    home.mkdir()
    home.chmod(0o2775)
    (home / "ledger.db").write_text("")
    (home / "ledger.db").chmod(0o664)
    make_private(home)
    assert mode(home) == 0o2770
    assert mode(home / "ledger.db") == 0o660
    os.umask(0o002)
    assert mode(private_folder(home / "batches" / "b1")) & 0o777 == 0o770


def test_a_report_is_for_those_who_may_enter_its_folder(home: Path, tmp_path: Path) -> None:
    """In the home it is private; in a public folder it is public."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    for folder, expected in ((private_folder(home / "batches" / "b1"), 0o600), (shared, 0o644)):
        with whole(str(folder / "report.json")) as stream:
            stream.write(b"{}")
        assert mode(folder / "report.json") == expected


def test_where_a_link_leads_is_left_alone(home: Path, tmp_path: Path) -> None:
    """A home may link to reports elsewhere, and that folder keeps its mode."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    home.mkdir()
    (home / "batches").symlink_to(elsewhere)
    make_private(home)
    assert mode(elsewhere) == 0o755


def _stack_was_here(home: Path, ledger_url: str) -> None:
    private_folder(home)
    (home / "secrets.json").write_text(json.dumps({"database_password": "c"}))
    write_environment(home / "stack.env", {"DATABASE_URL": ledger_url})


def test_a_ledger_in_a_stopped_stack_is_not_replaced_by_an_empty_one(home: Path) -> None:
    """No ledger is created beside it, and the advice leads to the existing one."""
    _stack_was_here(home, OWN_POSTGRES)
    with pytest.raises(ConfigurationError, match="PostgreSQL of its local stack") as refused:
        open_ledger(Settings(home=home))
    assert "`ittybatch up`" in str(refused.value)
    assert "db upgrade" not in str(refused.value)
    assert not (home / "ledger.db").exists()


@pytest.mark.parametrize(
    "command", [("status",), ("db", "upgrade"), ("plan", "s3://b/in/", "--profile", "web")]
)
def test_no_command_begins_a_second_ledger(home: Path, command: tuple[str, ...]) -> None:
    """Not even if an earlier version has created one there."""
    open_ledger(Settings(home=home)).close()
    _stack_was_here(home, OWN_POSTGRES)
    done = typed(*command, environment={"ITTYBATCH_HOME": str(home)}, cwd=home.parent)
    assert done.returncode == 3
    assert "PostgreSQL of its local stack" in done.stderr
    assert "`ittybatch up`" in done.stderr
    assert ":c@" not in done.stderr


def test_a_running_stack_that_a_setting_hides_is_named(home: Path) -> None:
    """With PREFECT_API_URL set, commands do not look for the stack."""
    _stack_was_here(home, OWN_POSTGRES)
    with home_lock(home), pytest.raises(ConfigurationError, match="PREFECT_API_URL"):
        open_ledger(Settings(home=home))


def test_a_ledger_elsewhere_is_named_without_its_password(home: Path) -> None:
    """The stack had a DATABASE_URL, and this command has none."""
    _stack_was_here(home, "postgresql://me:hush@db.example.com:5432/ledger")
    with pytest.raises(ConfigurationError, match=r"postgresql://db\.example\.com/ledger") as said:
        open_ledger(Settings(home=home))
    assert "Set DATABASE_URL" in str(said.value)
    assert "hush" not in str(said.value)


def test_a_ledger_that_stays_in_sqlite_is_used_with_and_without_the_stack(home: Path) -> None:
    """It needs no server."""
    _stack_was_here(home, f"sqlite:///{home}/ledger.db")
    assert Settings(home=home).ledger_url == f"sqlite:///{home}/ledger.db"
