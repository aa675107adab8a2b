"""Results out: from a webhook to the row in the user's own table, by a real receiver."""

import socket
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.sinks import SinkStatus, sink_statuses
from ittybatch.receiver import create_app
from ittybatch.settings import Settings
from ittybatch.sinks.declared import ResultsFileError
from tests.ledger import library
from tests.receiver.harness import SECRET, payload, running, wait_until

_TABLE = """
sinks:
  - name: media
    kind: sql
    url: ${MEDIA_URL}
    table: media
    mode: upsert
    on_accepted: true
    key: {task_id: "{task_id}"}
    columns: {status: "{status}", output_url: "{output_url}"}
"""
_POST = """
sinks:
  - name: app
    kind: http
    url: http://127.0.0.1:%d/results
    secret: ${RESULTS_SECRET}
"""
_EVENTS = 50
_MEDIAN_S = 2.0


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own database, with an empty table."""
    path = tmp_path / "media.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE media (task_id TEXT PRIMARY KEY, status TEXT, output_url)")
    monkeypatch.setenv("MEDIA_URL", f"sqlite:///{path}")
    return path


@pytest.fixture
def results_file(tmp_path: Path) -> Path:
    """A file that declares the table."""
    path = tmp_path / "results.yaml"
    path.write_text(_TABLE)
    return path


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _rows(media: Path) -> dict[str, str]:
    with closing(sqlite3.connect(media)) as database:
        return dict(database.execute("SELECT task_id, status FROM media").fetchall())


def _sink(ledger: Ledger) -> SinkStatus:
    [status] = ledger.read(sink_statuses)
    return status


def _is_declared(ledger: Ledger) -> bool:
    return any(each.active for each in ledger.read(sink_statuses))


def test_a_row_follows_its_webhook_within_two_seconds(
    ledger_url: str, ledger: Ledger, media: Path, results_file: Path
) -> None:
    """Median of fifty, each alone."""
    took_s = []
    with running(ledger_url, results_file=results_file) as up:
        wait_until(lambda: _is_declared(ledger))
        library.submitted(ledger, *(library.job(f"{number}.mov") for number in range(_EVENTS)))
        wait_until(lambda: len(_rows(media)) == _EVENTS)
        assert set(_rows(media).values()) == {"processing"}, "as soon as Ittybit has accepted them"
        for number in range(_EVENTS):
            assert up.post(payload(f"task-{number}")).text == "applied"
            began = time.monotonic()
            wait_until(lambda number=number: _rows(media)[f"task-{number}"] == "succeeded")  # type: ignore[misc]
            took_s.append(time.monotonic() - began)
        assert up.metric('ittybatch_results_delivered_total{sink="media"}') == 2 * _EVENTS
        assert up.metric('ittybatch_results_pending{sink="media"}') == 0
    assert statistics.median(took_s) < _MEDIAN_S, took_s


def test_a_sink_that_never_answers_does_not_delay_a_webhook(
    ledger_url: str, ledger: Ledger, silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the receiver's end: what is under way is delivered again after the next start."""
    monkeypatch.setenv("RESULTS_SECRET", "a long secret")
    path = tmp_path / "results.yaml"
    path.write_text(_POST % silent)
    with running(ledger_url, results_file=path) as up:
        wait_until(lambda: _is_declared(ledger))
        library.submitted(ledger, *(library.job(f"{number}.mov") for number in range(_EVENTS)))
        began = time.monotonic()
        answers = up.post_at_once([payload(f"task-{number}") for number in range(_EVENTS)])
        assert time.monotonic() - began < 5
        assert {answer.text for answer in answers} == {"applied"}
        assert _sink(ledger).pending == _EVENTS
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert _sink(ledger).pending == _EVENTS


def test_a_sink_whose_variable_is_not_set_waits(
    ledger_url: str, ledger: Ledger, results_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver starts, takes webhooks, and names the variable."""
    monkeypatch.delenv("MEDIA_URL", raising=False)
    with running(ledger_url, results_file=results_file) as up:
        wait_until(lambda: _is_declared(ledger))
        library.submitted(ledger, library.job("a.mov"))
        assert up.post(payload("task-0")).text == "applied"
        wait_until(lambda: _sink(ledger).failures)
    assert "MEDIA_URL" in str(_sink(ledger).last_error)
    assert _sink(ledger).pending == 2


def test_a_receiver_with_a_wrong_file_does_not_start(sqlite_url: str, tmp_path: Path) -> None:
    """It would lose no result, and nobody would learn of it."""
    path = tmp_path / "results.yaml"
    path.write_text("sinks:\n  - name: media\n    kind: sqll\n")
    settings = Settings(webhook_secret=SECRET, database_url=sqlite_url, results_file=path)
    with pytest.raises(ResultsFileError, match=r"line 3, sinks\[0\].kind: sink 'media'.*'sqll'"):
        create_app(settings, waker=False)
