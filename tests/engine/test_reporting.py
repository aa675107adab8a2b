"""Reports: the same jobs in every form, and nothing that a spreadsheet would run."""

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq

from ittybatch.engine.reporting import (
    harmless,
    write_csv,
    write_files,
    write_json,
    write_parquet,
    write_rejects,
)
from ittybatch.ledger import Ledger
from ittybatch.ledger.plan import PlannedReject
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.settlement import settle
from tests.ledger import library


def _batch(ledger: Ledger) -> str:
    """One job that succeeded, one that failed, one in flight."""
    names = ("a.mov", "=cmd()|x.mov", "c.mov")
    chunk, _ = library.submitted(ledger, *map(library.job, names))
    bad = library.failed("task-1", "invalid_input", '=HYPERLINK("http://x")')
    ledger.write(settle, [library.remote("task-0"), bad])
    return library.place(ledger, chunk).batch_id


def test_the_json_report_has_its_documented_shape(ledger: Ledger) -> None:
    """Programs rely on these names."""
    batch, stream = _batch(ledger), io.BytesIO()
    write_json(ledger, batch, stream, only_failures=False)
    report = json.loads(stream.getvalue())
    assert report["batch"]["id"] == batch
    assert report["counts"] == {
        "items": 3,
        "jobs": 3,
        "succeeded": 1,
        "failed": 1,
        "cancelled": 0,
        "expired": 0,
        "skipped": 0,
    }
    good, bad, _ = report["jobs"]
    assert good == {
        "input": "s3://media/a.mov",
        "rendition": "sd",
        "kind": "video",
        "status": "succeeded",
        "attempts": 1,
        "task_id": "task-0",
        "output_url": "https://cdn.test/out.mp4",
        "output": {
            "format": "mp4",
            "width": 854,
            "height": 480,
            "duration_s": 12.5,
            "size_bytes": 1000,
        },
        "error": None,
        "submitted_at": good["submitted_at"],
        "completed_at": "2026-11-21T00:00:00+00:00",
    }
    assert bad["error"] == {"kind": "invalid_input", "message": '=HYPERLINK("http://x")'}
    assert bad["output"] is None


def test_a_report_opened_in_a_spreadsheet_runs_nothing(ledger: Ledger) -> None:
    """Every cell that would begin a formula is made text."""
    batch, stream = _batch(ledger), io.StringIO()
    write_csv(ledger, batch, stream, only_failures=False)
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert len(rows) == 3
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert rows[1]["error_message"].startswith("'=HYPERLINK")
    assert [harmless(text) for text in ("@x", "-1", "\tx", "x=1")] == ["'@x", "'-1", "'\tx", "x=1"]


def test_only_failures_are_written_when_asked(ledger: Ledger) -> None:
    """For whoever has to mend them."""
    batch, stream = _batch(ledger), io.StringIO()
    write_csv(ledger, batch, stream, only_failures=True)
    [row] = csv.DictReader(io.StringIO(stream.getvalue()))
    assert (row["status"], row["error_kind"]) == ("failed", "invalid_input")


def test_parquet_holds_the_same_rows(ledger: Ledger, tmp_path: Path) -> None:
    """With types: numbers are numbers, times have their zone."""
    batch, path = _batch(ledger), tmp_path / "report.parquet"
    with path.open("wb") as stream:
        write_parquet(ledger, batch, stream, only_failures=False)
    table = pq.read_table(path)
    assert table.column("status").to_pylist() == ["succeeded", "failed", "submitted"]
    assert table.column("width").to_pylist()[0] == 854
    assert str(table.schema.field("completed_at").type) == "timestamp[us, tz=UTC]"


def test_files_are_whole_or_not_there(ledger: Ledger, tmp_path: Path) -> None:
    """And rejects are a file only where there are any."""
    batch = _batch(ledger)
    files = write_files(ledger, batch, tmp_path / "out")
    assert sorted(files) == ["csv", "json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.csv",
        "report.json",
    ]
    reject = PlannedReject(9, "input", "=evil", "@row")
    second = library.new_batch(ledger).id
    page = library.page(rejects=[reject])
    ledger.write(plan_page, second, page, after=None, chunk_size=10)
    assert sorted(write_files(ledger, second, tmp_path / "two")) == ["csv", "json", "rejects"]
    stream = io.StringIO()
    assert write_rejects(ledger, second, stream) == 1
    assert stream.getvalue().splitlines()[1] == "9,input,'=evil,'@row"
