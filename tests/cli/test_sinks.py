"""The commands about sinks: what waits, what was refused, and sending it again."""

import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from ittybatch.cli import sinks as command
from ittybatch.cli.batches import status
from ittybatch.engine.finding import Grade
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.pending import mark, pending_page
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.sinks import DeclaredSink, back_off, sink_statuses, sync_sinks
from ittybatch.settings import Settings
from ittybatch.sinks.checking import check_sinks
from tests.ledger import library

TABLE = """
sinks:
  - name: media
    kind: sql
    url: sqlite:///%s
    table: media
    mode: upsert
    key: {task_id: "{task_id}"}
    columns: {status: "{status}"}
"""


@pytest.fixture
def ledger(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The ledger of the commands, in which `media` has refused one result and waits for one."""
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("ITTYBATCH_HOME", str(tmp_path))
    opened = Ledger(create_ledger_engine(sqlite_url))
    opened.write(sync_sinks, [DeclaredSink("media", "sql")])
    library.submitted(opened, library.job("a.mov"), library.job("b.mov"))
    opened.write(settle, [library.remote("task-0"), library.remote("task-1")])
    first = opened.read(pending_page, "media", 1).rows[0].id
    opened.write(mark, "media", [], [(first, "violates constraint [status_check]")])
    return opened


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A screen on which nothing is folded."""
    monkeypatch.setattr("ittybatch.cli.output.console", Console(width=200, highlight=False))


@pytest.mark.usefixtures("ledger")
def test_the_list_shows_what_waits_and_what_was_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """In a table, and as JSON."""
    assert command.list_sinks() == 0
    shown = capfd.readouterr().out
    assert "media" in shown
    assert "1 result refused (violates constraint [status_check])" in shown
    command.list_sinks(json=True)
    [listed] = json.loads(capfd.readouterr().out)
    assert (listed["pending"], listed["refused"], listed["active"]) == (1, 1, True)


def test_what_was_refused_is_sent_again(ledger: Ledger, capfd: pytest.CaptureFixture[str]) -> None:
    """A receiver finds it in the outbox."""
    assert command.retry("media") == 0
    assert "1 result will be delivered again" in capfd.readouterr().out
    [found] = ledger.read(sink_statuses)
    assert (found.pending, found.refused) == (2, 0)
    command.retry(json=True)
    assert json.loads(capfd.readouterr().out) == {"retried": 0}


@pytest.mark.usefixtures("ledger")
def test_a_sink_that_does_not_exist_is_an_error() -> None:
    """It names those that do."""
    with pytest.raises(IttybatchError, match=r"no sink 'medai' \(found: media\)"):
        command.retry("medai")


@pytest.mark.usefixtures("ledger")
def test_status_says_what_a_sink_has_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """An operator who looks at the batches sees it, too."""
    status()
    assert "Sink media: 1 result refused" in capfd.readouterr().out


def _findings(tmp_path: Path, sqlite_url: str, text: str) -> list[tuple[str, Grade, str]]:
    path = tmp_path / "results.yaml"
    path.write_text(text)
    settings = Settings(database_url=sqlite_url, results_file=path, home=tmp_path)
    return [(each.check, each.grade, each.what) for each in check_sinks(settings)]


def test_doctor_checks_each_sink_and_what_waits_for_it(
    ledger: Ledger, tmp_path: Path, sqlite_url: str
) -> None:
    """From where it runs."""
    app = tmp_path / "app.db"
    [(check, grade, what)] = _findings(tmp_path, sqlite_url, TABLE % app)
    assert (check, grade) == ("Sink media", Grade.BROKEN)
    assert "media" in what
    other = Ledger(create_ledger_engine(f"sqlite:///{app}"))
    with other.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE media (task_id TEXT PRIMARY KEY, status TEXT)")
    other.close()
    [(_, grade, what)] = _findings(tmp_path, sqlite_url, TABLE % app)
    assert grade is Grade.WARNING
    assert what.startswith("1 result refused")
    command.retry("media")
    for row in ledger.read(pending_page, "media", 10).rows:
        ledger.write(mark, "media", [row.id], [])
    [(_, grade, _)] = _findings(tmp_path, sqlite_url, TABLE % app)
    assert grade is Grade.OK


def test_doctor_repeats_a_sinks_error_letter_by_letter(
    ledger: Ledger, tmp_path: Path, sqlite_url: str
) -> None:
    """Names of variables, tables and URLs are case-sensitive; and one sentence has one dot."""
    ledger.write(back_off, "media", "APP_URL is not set for the table Media.", 60)
    [(_, grade, what)] = _findings(tmp_path, sqlite_url, TABLE % (tmp_path / "app.db"))
    assert grade is Grade.BROKEN
    assert what.endswith("it is unavailable: APP_URL is not set for the table Media.")


def test_doctor_names_a_sink_that_is_no_longer_declared(
    ledger: Ledger, tmp_path: Path, sqlite_url: str
) -> None:
    """Results wait for it."""
    ledger.write(sync_sinks, [])
    ledger.write(back_off, "media", "away", 60)
    [(check, grade, what)] = _findings(tmp_path, sqlite_url, "sinks: []")
    assert (check, grade) == ("Sink media", Grade.WARNING)
    assert "results.yaml does not declare it" in what


@pytest.mark.usefixtures("ledger")
def test_doctor_reports_a_file_that_cannot_be_used(tmp_path: Path, sqlite_url: str) -> None:
    """With the place of the mistake."""
    [(check, grade, what)] = _findings(tmp_path, sqlite_url, "sinks:\n  - kind: x\n")
    assert (check, grade) == ("Sinks", Grade.BROKEN)
    assert "line 2, sinks[0].kind" in what
    assert os.fspath(tmp_path) in what


def test_a_sink_that_no_receiver_knows_gets_nothing(tmp_path: Path, sqlite_url: str) -> None:
    """Until one is restarted."""
    app = tmp_path / "app.db"
    other = Ledger(create_ledger_engine(f"sqlite:///{app}"))
    with other.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE media (task_id TEXT PRIMARY KEY, status TEXT)")
    other.close()
    [(_, grade, what)] = _findings(tmp_path, sqlite_url, TABLE % app)
    assert grade is Grade.WARNING
    assert "no receiver has taken it up" in what
