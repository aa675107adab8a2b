"""`ittybatch report`: to a file, a bucket or the terminal, in the form that its name says."""

import json
from pathlib import Path

import pytest

from ittybatch.cli import output as printing
from ittybatch.cli.looking import report
from ittybatch.engine.reports.forms import ReportFormat
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from tests.engine.reports import mixed_batch


@pytest.fixture
def batch(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A batch in the ledger that the command opens."""
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    ledger = Ledger(create_ledger_engine(sqlite_url))
    made = mixed_batch(ledger)
    ledger.close()
    return made


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("r.json", b'{"batch"'),
        ("r.csv", b"\xef\xbb\xbfinput,"),
        ("r.parquet", b"PAR1"),
        ("r.HTML", b"<!doctype html>"),
        ("r", b'{"batch"'),
    ],
)
def test_the_form_is_what_the_name_ends_in(
    batch: str, tmp_path: Path, name: str, begins: bytes
) -> None:
    """JSON where it says nothing; `--format` outranks it."""
    assert report(batch, output=str(tmp_path / name)) == 0
    assert (tmp_path / name).read_bytes().startswith(begins)
    report("latest", format=ReportFormat.CSV, output=str(tmp_path / name))
    assert (tmp_path / name).read_bytes().startswith(b"\xef\xbb\xbfinput,")


@pytest.mark.usefixtures("batch")
def test_what_is_piped_is_the_report_alone(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Whatever else there is to say goes to the standard error."""
    report("latest", check_outputs=True)
    found = json.loads(capfdbinary.readouterr().out)
    assert len(found["jobs"]) == 3
    assert found["checks"] == {"unknown": 1}


def test_a_key_cannot_command_the_terminal() -> None:
    """Nor be taken for markup, with or without a backslash before it."""
    shown = printing._text("\x1b]0;owned\x07\x9b2J\\[bold red]x[/]")
    assert shown.plain == "\ufffd]0;owned\ufffd\ufffd2J\\[bold red]x[/]"
    assert shown.spans == []
