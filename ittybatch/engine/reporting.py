"""The completion report, as JSON and as CSV."""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from ittybatch.ledger import Ledger
from ittybatch.ledger.queries import (
    BatchStatus,
    JobRow,
    all_job_rows,
    batch_status,
    reject_rows,
)
from ittybatch.ledger.states import JobState

FAILED_STATES = (JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED)
COUNTED = ("items", "jobs", "succeeded", "failed", "cancelled", "expired", "skipped")
COLUMNS = (
    "input",
    "rendition",
    "kind",
    "status",
    "attempts",
    "task_id",
    "output_url",
    "format",
    "width",
    "height",
    "duration_s",
    "size_bytes",
    "error_kind",
    "error_message",
    "submitted_at",
    "completed_at",
)
_NUMBERS: dict[str, pa.DataType] = {
    "attempts": pa.int32(),
    "width": pa.int32(),
    "height": pa.int32(),
    "duration_s": pa.float64(),
    "size_bytes": pa.int64(),
    "submitted_at": pa.timestamp("us", tz="UTC"),
    "completed_at": pa.timestamp("us", tz="UTC"),
}
PARQUET_SCHEMA = pa.schema([(name, _NUMBERS.get(name, pa.string())) for name in COLUMNS])
_ROW_GROUP = 10_000
# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def batch_summary(status: BatchStatus) -> dict[str, Any]:
    """A batch's line of the report."""
    return {
        "id": status.id,
        "name": status.name,
        "state": status.state.value,
        "reason": status.reason,
        "profile": status.profile,
        "source": status.source,
        "flow_run_id": status.flow_run_id,
        "created_at": _time(status.created_at),
        "ended_at": _time(status.ended_at),
        "retried": status.retried,
        "plan": status.plan,
    }


def job_entry(row: JobRow) -> dict[str, Any]:
    """A job's entry of the report."""
    output = {
        "format": row.format,
        "width": row.width,
        "height": row.height,
        "duration_s": row.duration_s,
        "size_bytes": row.size_bytes,
    }
    error = {"kind": row.error_kind, "message": row.error_message}
    return {
        "input": row.input,
        "rendition": row.rendition,
        "kind": row.kind,
        "status": row.state.value,
        "attempts": row.attempts,
        "task_id": row.task_id,
        "output_url": row.output_url,
        "output": output if row.state is JobState.SUCCEEDED else None,
        "error": error if row.error_message else None,
        "submitted_at": _time(row.submitted_at),
        "completed_at": _time(row.completed_at),
    }


def write_json(ledger: Ledger, batch: str, stream: IO[bytes], *, only_failures: bool) -> None:
    """Write the report job by job, so that a million of them need no memory."""
    status = ledger.read(batch_status, batch)
    counts = {name: status.counts[name] for name in COUNTED}
    head = orjson.dumps({"batch": batch_summary(status), "counts": counts})
    stream.write(head[:-1] + b',"jobs":[')
    for number, row in enumerate(_rows(ledger, batch, only_failures=only_failures)):
        stream.write((b",\n" if number else b"\n") + orjson.dumps(job_entry(row)))
    stream.write(b"\n]}\n")


def write_csv(ledger: Ledger, batch: str, stream: IO[str], *, only_failures: bool) -> None:
    """Write the report as rows. Opened in a spreadsheet, no cell of it is a formula."""
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for row in _rows(ledger, batch, only_failures=only_failures):
        entry = {**asdict(row), "status": row.state.value}
        writer.writerow([harmless(_cell(entry[name])) for name in COLUMNS])


def write_parquet(ledger: Ledger, batch: str, stream: IO[bytes], *, only_failures: bool) -> None:
    """Write the report as Parquet, a row group a few thousand jobs."""
    rows = _rows(ledger, batch, only_failures=only_failures)
    with pq.ParquetWriter(stream, PARQUET_SCHEMA) as writer:
        while group := list(islice(rows, _ROW_GROUP)):
            entries = [{**asdict(row), "status": row.state.value} for row in group]
            writer.write_table(
                pa.Table.from_pylist(
                    [{name: entry[name] for name in COLUMNS} for entry in entries],
                    schema=PARQUET_SCHEMA,
                )
            )


def write_rejects(ledger: Ledger, batch: str, stream: IO[str]) -> int:
    """Write the rows of the source that could not become items.

    Returns:
        How many there are.
    """
    writer = csv.writer(stream)
    writer.writerow(("line", "field", "reason", "row"))
    written, after = 0, -1
    while rows := ledger.read(reject_rows, batch, after):
        for row in rows:
            writer.writerow(
                [harmless(_cell(row[name])) for name in ("line", "field", "reason", "row")]
            )
        written, after = written + len(rows), rows[-1]["number"]
    return written


def write_files(ledger: Ledger, batch: str, folder: Path) -> dict[str, Path]:
    """Write `report.json`, `report.csv` and, where there are any, `rejects.csv`.

    Returns:
        The files by what they hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {"json": folder / "report.json", "csv": folder / "report.csv"}
    with _whole(files["json"], "wb") as stream:
        write_json(ledger, batch, stream, only_failures=False)
    with _whole(files["csv"], "w") as stream:
        write_csv(ledger, batch, stream, only_failures=False)
    if rejects := write_rejects_file(ledger, batch, folder):
        files["rejects"] = rejects
    return files


def write_rejects_file(ledger: Ledger, batch: str, folder: Path) -> Path | None:
    """Write `rejects.csv` where a batch has any.

    Returns:
        The file, or None.
    """
    if not ledger.read(reject_rows, batch):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rejects.csv"
    with _whole(path, "w") as stream:
        write_rejects(ledger, batch, stream)
    return path


def harmless(cell: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _rows(ledger: Ledger, batch: str, *, only_failures: bool) -> Iterator[JobRow]:
    return all_job_rows(ledger, batch, states=FAILED_STATES if only_failures else ())


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return "" if value is None else str(value)


def _time(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


@contextmanager
def _whole(path: Path, mode: str) -> Iterator[Any]:
    """Write a file whole or not at all: a report cut short must not pass for one."""
    part = path.with_name(f".{path.name}.part")
    encoding = None if "b" in mode else "utf-8"
    newline = None if "b" in mode else ""
    with part.open(mode, encoding=encoding, newline=newline) as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
