"""`ittybatch report`: to a file, a bucket or the terminal, in the form that its name says."""

import json
from pathlib import Path

import pytest

from ittybatch.cli import output as printing
from ittybatch.cli.reporting import report
from ittybatch.engine.reports.forms import ReportFormat, UnknownForm, refuse_file
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch_local.demo import demo
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
        ("r.xlsx", b"PK"),
        ("r", b'{"batch"'),
    ],
)
def test_the_form_is_what_the_name_ends_in(
    batch: str, tmp_path: Path, name: str, begins: bytes
) -> None:
    """JSON where it says nothing."""
    assert report(batch, output=str(tmp_path / name)) == 0
    assert (tmp_path / name).read_bytes().startswith(begins)


@pytest.mark.parametrize("name", ["r.ods", "r.txt", "r.json.gz", "r.CSV2", "s3://my.bucket/r.tsv"])
def test_a_name_whose_form_is_not_known_is_refused(batch: str, tmp_path: Path, name: str) -> None:
    """It says which there are, and leaves nothing behind."""
    place = name if name.startswith("s3://") else str(tmp_path / name)
    with pytest.raises(UnknownForm, match=r"\.json, \.csv, \.parquet, \.html or \.xlsx") as refused:
        report(batch, output=place)
    assert place in str(refused.value)
    assert list(tmp_path.glob("r*")) == []


@pytest.mark.parametrize("name", ["r.json", "r.HTML", "r.xlsx", "r.jsonl"])
def test_a_format_that_contradicts_the_name_is_refused(
    batch: str, tmp_path: Path, name: str
) -> None:
    """A reader goes by the name."""
    with pytest.raises(UnknownForm, match="--format csv"):
        report(batch, format=ReportFormat.CSV, output=str(tmp_path / name))
    assert list(tmp_path.glob("r*")) == []


@pytest.mark.parametrize("name", ["r", "r.csv", "r.CSV", "tmp.x7Yz", "r.txt", "r.2026-01-31"])
def test_a_format_may_go_with_a_name_that_says_nothing_else(
    batch: str, tmp_path: Path, name: str
) -> None:
    """Such as that of a temporary file."""
    assert report(batch, format=ReportFormat.CSV, output=str(tmp_path / name)) == 0
    assert (tmp_path / name).read_bytes().startswith(b"\xef\xbb\xbfinput,")


def test_the_name_is_refused_before_a_table_is_written(batch: str, tmp_path: Path) -> None:
    """Half of what was asked for would look like all of it."""
    with pytest.raises(UnknownForm):
        report(batch, output=str(tmp_path / "r.ods"), dynamodb="nobody-asks-for-it")


@pytest.mark.parametrize("place", ["/reports/nightly.csv", "s3://reports/nightly.XLSX"])
def test_copies_go_to_a_folder_and_not_to_a_file(place: str) -> None:
    """A folder named for the batch is made in it."""
    with pytest.raises(UnknownForm, match="report_to"):
        refuse_file(place)
    for folder in ("/reports/2026.11/", "s3://reports/v1.2/", "s3://my.reports/", None):
        refuse_file(folder)


@pytest.mark.parametrize("name", ["r.csv", "r", "missing/r.json"])
def test_the_demo_says_at_once_that_it_cannot_write_its_report(tmp_path: Path, name: str) -> None:
    """And not once everything has run."""
    with pytest.raises(IttybatchError, match="--report"):
        demo(report=tmp_path / name)


@pytest.mark.usefixtures("batch")
def test_what_is_piped_is_the_report_alone(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Whatever else there is to say goes to the standard error."""
    report("latest", check_outputs=True)
    found = json.loads(capfdbinary.readouterr().out)
    assert len(found["jobs"]) == 3
    assert found["checks"] == {"unknown": 1}


def test_a_key_cannot_command_the_terminal() -> None:
    """Nor be taken for markup, with or without a backslash before it."""
    shown = printing.styled("\x1b]0;owned\x07\x9b2J\\[bold red]x[/]")
    assert shown.plain == "\ufffd]0;owned\ufffd\ufffd2J\\[bold red]x[/]"
    assert shown.spans == []
