"""The formats of the report that list every job, and those of them that are text: JSON, CSV.

Each format receives the jobs page by page and does not keep the whole report in memory.
"""

import csv
import io
from collections.abc import Sequence
from enum import StrEnum
from pathlib import PurePath
from typing import IO, Protocol

import orjson

from ittybatch.engine.reports.cells import BYTE_ORDER_MARK, cell
from ittybatch.engine.reports.entries import (
    COLUMNS,
    batch_summary,
    counts_of,
    job_columns,
    job_entry,
)
from ittybatch.engine.reports.tally import Tally
from ittybatch.errors import IttybatchError
from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.results import Result


class ReportFormat(StrEnum):
    """A report's format. The value is the file suffix."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    HTML = "html"
    XLSX = "xlsx"


_ENDINGS = ".json, .csv, .parquet, .html or .xlsx"
# Suffixes of other formats.
_SUFFIXES = {
    *ReportFormat,
    *("xls", "ods", "tsv", "jsonl", "ndjson", "xml", "pdf", "gz", "zip"),
}


class UnknownForm(IttybatchError):
    """The suffix of a report's name belongs to an unknown format or contradicts `--format`."""


def form_of(name: str | None, given: ReportFormat | None = None) -> ReportFormat:
    """Choose a report's format by the suffix of its name. Without a suffix, it is JSON.

    Args:
        name: A path or `s3://bucket/key`; None for a stream.
        given: The requested format, if any.

    Raises:
        UnknownForm: The suffix does not match the format.
    """
    ending = _ending(name)
    if given is not None:
        if ending in _SUFFIXES - {given.value}:
            raise UnknownForm(
                f"{name} would hold {given.value.upper()}, because of `--format {given.value}`, "
                f"but its name says {ending}.",
                remedy=f"Name it .{given.value}, or leave out `--format`.",
            )
        return given
    if not ending:
        return ReportFormat.JSON
    if ending not in set(ReportFormat):
        raise UnknownForm(
            f"Reports have no format for the name {name}; nothing was written.",
            remedy=f"Use a name that ends in {_ENDINGS}, or choose with `--format`.",
        )
    return ReportFormat(ending)


def refuse_file(report_to: str | None) -> None:
    """Refuse a file as the destination of copies, which must be a folder.

    Raises:
        UnknownForm: The name has the suffix of a file.
    """
    if report_to and not report_to.endswith("/") and _ending(report_to) in _SUFFIXES:
        raise UnknownForm(
            f"report_to is {report_to}, which names a file; nothing was submitted.",
            remedy="Give a folder or s3://bucket/prefix/: each batch gets a folder of its own "
            "there, with the report in every format but .xlsx.",
        )


def _ending(name: str | None) -> str:
    return PurePath(name).suffix.removeprefix(".").lower() if name else ""


class ReportForm(Protocol):
    """A report that is being written."""

    def add(self, rows: Sequence[Result], /) -> None:
        """Write the next jobs."""

    def end(self, tally: Tally, /) -> None:
        """Write the end of the report, after the last job."""


class JsonReport:
    """The report as one JSON document, with one line per job."""

    def __init__(self, stream: IO[bytes], status: BatchStatus) -> None:
        self._stream = stream
        self._before = b"\n"
        head = orjson.dumps({"batch": batch_summary(status), "counts": counts_of(status)})
        stream.write(head[:-1] + b',"jobs":[')

    def add(self, rows: Sequence[Result], /) -> None:
        """Write these jobs."""
        for row in rows:
            self._stream.write(self._before + orjson.dumps(job_entry(row)))
            self._before = b",\n"

    def end(self, tally: Tally, /) -> None:
        """Write the results of the checks, if any, and close the document."""
        self._stream.write(b"\n]")
        if tally.checks:
            self._stream.write(b',"checks":' + orjson.dumps(dict(tally.checks)))
        self._stream.write(b"}\n")


class CsvReport:
    """The report as CSV. No spreadsheet treats its cells as formulas.

    Args:
        stream: The stream to write to.
        for_excel: Whether to begin with a byte order mark, which Excel needs but pipes do not.
    """

    def __init__(self, stream: IO[bytes], *, for_excel: bool = False) -> None:
        self._stream = stream
        if for_excel:
            stream.write(BYTE_ORDER_MARK)
        self._write([COLUMNS])

    def add(self, rows: Sequence[Result], /) -> None:
        """Write these jobs."""
        self._write([[cell(value) for value in job_columns(row).values()] for row in rows])

    def end(self, tally: Tally, /) -> None:
        """Write nothing: CSV has no end."""

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._stream.write(text.getvalue().encode())
