"""The report as a workbook: what Excel would take for something else, and what it cannot hold."""

import io
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl import Workbook

from ittybatch.engine.reporting import report_output, write_files, write_report
from ittybatch.engine.reports import workbook
from ittybatch.engine.reports.forms import ReportForm, ReportFormat
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.plan import PlannedReject
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.results import result_pages
from ittybatch.ledger.settlement import settle
from tests.engine.reports import mixed_batch, written
from tests.ledger import library


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """One database is enough where the ledger has no part in it."""
    opened = Ledger(create_ledger_engine(sqlite_url))
    yield opened
    opened.close()


def book_of(ledger: Ledger, batch: str, *, only_failures: bool = False) -> Workbook:
    raw = written(ledger, batch, ReportFormat.XLSX, only_failures=only_failures)
    return openpyxl.load_workbook(io.BytesIO(raw))


def rows_of(book: Workbook, sheet: str) -> list[dict[str, Any]]:
    titles, *rows = book[sheet].iter_rows(values_only=True)
    return [dict(zip(map(str, titles), row, strict=True)) for row in rows]


def test_a_workbook_has_a_sheet_for_each_question(ledger: Ledger) -> None:
    """Numbers are numbers, and times are times in UTC."""
    batch = mixed_batch(ledger)
    book = book_of(ledger, batch)
    assert book.sheetnames == ["summary", "jobs", "failures", "rejects"]
    summary = {row[0]: row[1:] for row in book["summary"].iter_rows(values_only=True)}
    assert summary["batch"][0] == batch
    assert summary["succeeded"][0] == 1
    assert summary["sd"][:3] == (3, 1, 1)
    good, bad, _ = rows_of(book, "jobs")
    assert (good["input"], good["width"], good["duration_s"]) == ("s3://media/a.mov", 854, 12.5)
    assert good["completed_at (UTC)"] == datetime(2026, 11, 21)  # noqa: DTZ001 - Excel has no zones
    assert (bad["status"], bad["width"]) == ("failed", None)
    [reason] = rows_of(book, "failures")
    assert (reason["jobs"], reason["outlook"]) == (1, "would fail again")
    assert rows_of(book, "rejects") == []
    assert [
        row["status"] for row in rows_of(book_of(ledger, batch, only_failures=True), "jobs")
    ] == ["failed"]


def test_no_text_becomes_a_formula_and_none_is_changed(ledger: Ledger) -> None:
    """A key, an error or a row may begin like one, or like an error value."""
    begins = ["=cmd|'/c calc'!A0", "+1", "-1", "@SUM(1)", "#N/A", "\t=1", "'=1", "1e5", "TRUE"]
    batch = library.new_batch(ledger).id
    rejects = [PlannedReject(number, None, text, text) for number, text in enumerate(begins)]
    ledger.write(plan_page, batch, library.page(rejects=rejects), after=None, chunk_size=10)
    sheet = book_of(ledger, batch)["rejects"]
    cells = [row[2] for row in sheet.iter_rows(min_row=2)]
    assert [cell.value for cell in cells] == begins
    assert {cell.data_type for cell in cells} <= {"s", "inlineStr"}
    assert [bool(cell.quotePrefix) for cell in cells] == [True] * 6 + [False] * 3


def test_what_a_cell_cannot_hold_is_replaced_or_cut(ledger: Ledger) -> None:
    """Control characters, half of a pair of surrogates, and more than 32,767 UTF-16 units."""
    assert workbook.text_of("a\x00b\x1fc\ud800\uffff\nd") == "a\ufffdb\ufffdc\ufffd\ufffd\nd"
    assert workbook.text_of("a_x000D_.mov") == "a_x005F_x000D_.mov"
    exact, long = "x" * 32_767, "\U0001f3ac" * 16_384
    assert workbook.text_of(exact) == exact
    cut = workbook.text_of(long)
    assert cut == "\U0001f3ac" * 16_383 + "…"
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    ledger.write(settle, [library.failed("task-0", "invalid_input", "\x1b" + "y" * 40_000)])
    [row] = rows_of(book_of(ledger, library.place(ledger, chunk).batch_id), "jobs")
    assert len(row["error_message"]) <= 32_767
    assert row["error_message"].startswith("\ufffd")


def test_more_rows_than_a_sheet_has_go_on_in_the_next(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the same titles, beside it."""
    monkeypatch.setattr(workbook, "MOST_ROWS", 3)
    batch = library.planned_batch(ledger, *(library.job(f"{n}.mov") for n in range(5)))
    book = book_of(ledger, batch)
    sheets = [name for name in book.sheetnames if not name.startswith("summary")]
    assert sheets == ["jobs", "jobs 2", "jobs 3", "failures", "rejects"]
    inputs = [row["input"] for name in sheets[:3] for row in rows_of(book, name)]
    assert inputs == [f"s3://media/{n}.mov" for n in range(5)]


def test_a_workbook_that_breaks_off_leaves_no_files(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Openpyxl keeps the rows of each sheet in a temporary file, and its process may run on."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    batch = mixed_batch(ledger)

    def break_off(form: ReportForm) -> None:
        for rows in result_pages(ledger, batch):
            form.add(rows)
        assert list(tmp_path.glob("openpyxl.*"))
        raise OSError("The disk is full.")

    output = report_output(ledger, batch, ReportFormat.XLSX, io.BytesIO())
    with pytest.raises(OSError, match="disk"), output.opened as form:
        break_off(form)
    assert list(tmp_path.glob("openpyxl.*")) == []


def test_a_workbook_is_written_only_on_request(ledger: Ledger, tmp_path: Path) -> None:
    """One of a large batch takes minutes, which no end of a batch may cost."""
    batch = mixed_batch(ledger)
    write_files(ledger, batch, tmp_path / "home", copies_to=str(tmp_path / "copies"))
    assert list(tmp_path.rglob("*.xlsx")) == []
    place = str(tmp_path / "mine.xlsx")
    write_report(ledger, batch, [report_output(ledger, batch, ReportFormat.XLSX, place)])
    assert openpyxl.load_workbook(place, read_only=True).sheetnames[0] == "summary"
