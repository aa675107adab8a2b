"""The report as an Excel workbook: summary, jobs, failures by reason, rejected rows.

Rows go to temporary files as they come, so memory does not grow with the batch. Excel has limits
and rules of its own, which `text_of` and `_Rows` follow.
"""

import contextlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

from ittybatch.engine.naming import source_name
from ittybatch.engine.reports.entries import COLUMNS, FAILED_STATES, counts_of, job_columns
from ittybatch.engine.reports.failures import FailureRow
from ittybatch.engine.reports.tally import Tally
from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.results import Result

# Rows of a sheet, its titles included, and UTF-16 units of a cell.
MOST_ROWS = 1_048_576
MOST_UNITS = 32_767
_MAY_BE_LONGER = MOST_UNITS // 2
# XML cannot hold these characters.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# Programs read it as the character with this number. Escaped, it is read as it is.
_ESCAPE = re.compile("_x[0-9A-Fa-f]{4}_")
# Excel and openpyxl take text that begins so for a formula or an error value.
_SIGNS = ("=", "+", "-", "@", "#", "\t", "\r", "\n")
_TIMES = {"submitted_at", "completed_at", "created_at", "ended_at", "first_at", "last_at"}
_TIME_FORMAT = "yyyy-mm-dd hh:mm:ss"
_WIDTHS = {"input": 50, "reason": 50, "example": 50, "error_message": 50, "row": 50}
_WIDTH = 18
_FAILURES = tuple(field.name for field in fields(FailureRow))
_REJECTS = ("line", "field", "reason", "row")
_RENDITIONS = (
    *("rendition", "jobs", "succeeded", "failed", "mean_s", "p95_s", "longest_s"),
    *("input_bytes", "output_bytes", "saved_bytes", "cost"),
)


class WorkbookReport:
    """The report as an Excel workbook.

    Args:
        stream: Where to write it.
        status: The batch.
        reasons: Failures by reason, the most frequent first.
        rejects: Rejected rows.
        only_failures: Whether to list only jobs that did not succeed.
    """

    def __init__(
        self,
        stream: IO[bytes],
        status: BatchStatus,
        reasons: Iterable[FailureRow],
        rejects: Iterable[Mapping[str, Any]],
        *,
        only_failures: bool = False,
    ) -> None:
        self._stream = stream
        self._status = status
        self._reasons = reasons
        self._rejects = rejects
        self._only_failures = only_failures
        self._book = Workbook(write_only=True)
        self._summary = _Rows(self._book, "summary", ())
        self._summary.add_titles(("batch", status.id))
        self._jobs = _Rows(self._book, "jobs", COLUMNS)

    def add(self, rows: Sequence[Result]) -> None:
        """Write these jobs."""
        for row in rows:
            if not self._only_failures or row.state in FAILED_STATES:
                self._jobs.add(list(job_columns(row).values()))

    def end(self, tally: Tally) -> None:
        """Write the other sheets and the file."""
        failures = _Rows(self._book, "failures", _FAILURES)
        for reason in self._reasons:
            failures.add([getattr(reason, name) for name in _FAILURES])
        rejects = _Rows(self._book, "rejects", _REJECTS)
        for row in self._rejects:
            rejects.add([row[name] for name in _REJECTS])
        for line in _summary_lines(self._status):
            self._summary.add(line)
        self._summary.add_titles(_RENDITIONS)
        for each in tally.summary:
            self._summary.add([_rounded(getattr(each, name)) for name in _RENDITIONS])
        self._book.save(self._stream)

    def discard(self) -> None:
        """Remove the temporary files of a workbook that was not written to its end."""
        for sheet in self._book.worksheets:
            # openpyxl removes a sheet's file when it saves it, and else at the end of the process.
            writer = getattr(sheet, "_writer", None)
            if writer is None or not Path(writer.out).exists():
                continue
            # The file goes in any case. An error of closing it, such as a full disk, would hide the
            # one for which the workbook is discarded.
            with contextlib.suppress(Exception):
                if not sheet.closed:
                    sheet.close()
            writer.cleanup()


class _Rows:
    """Rows under titles, on as many sheets as they need: `jobs`, `jobs 2`, ...

    Args:
        book: The workbook.
        name: The first sheet's name.
        titles: The titles; empty for none.
    """

    def __init__(self, book: Workbook, name: str, titles: Sequence[str]) -> None:
        self._book = book
        self._name = name
        self._titles = titles
        self._sheets = 0
        self._rows = 0
        self._sheet: Any = None
        self._begin_sheet()

    def add(self, values: Sequence[object]) -> None:
        """Write a row."""
        if self._rows == MOST_ROWS:
            self._begin_sheet()
        self._sheet.append([self._cell(value) for value in values])
        self._rows += 1

    def add_titles(self, names: Sequence[str]) -> None:
        """Write a row of titles."""
        self._sheet.append([self._bold(_titled(name)) for name in names])
        self._rows += 1

    def _begin_sheet(self) -> None:
        self._sheets += 1
        title = self._name if self._sheets == 1 else f"{self._name} {self._sheets}"
        after = None
        if self._sheets > 1:
            after = self._book.sheetnames.index(self._sheet.title) + 1
        self._sheet = self._book.create_sheet(title, after)
        self._rows = 0
        for number, name in enumerate(self._titles or _RENDITIONS, 1):
            letter = get_column_letter(number)
            self._sheet.column_dimensions[letter].width = _WIDTHS.get(name, _WIDTH)
        if self._titles:
            self._sheet.freeze_panes = "A2"
            last = get_column_letter(len(self._titles))
            self._sheet.auto_filter.ref = f"A1:{last}{MOST_ROWS}"
            self.add_titles(self._titles)

    def _cell(self, value: object) -> object:
        """Convert a value to what openpyxl writes as that value, never as a formula."""
        if isinstance(value, str):
            text = text_of(value)
            if not text.startswith(_SIGNS):
                return text
            cell = WriteOnlyCell(self._sheet, text)
            cell.data_type = "s"
            # Excel keeps it text even if somebody edits the cell.
            cell.quotePrefix = True
            return cell
        if isinstance(value, datetime):
            # Excel has no time zones.
            cell = WriteOnlyCell(self._sheet, value.astimezone(UTC).replace(tzinfo=None))
            cell.number_format = _TIME_FORMAT
            return cell
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value

    def _bold(self, text: str) -> object:
        cell = WriteOnlyCell(self._sheet, text)
        cell.font = Font(bold=True)
        return cell


def text_of(text: str) -> str:
    """Return text that a cell can hold: without control characters, cut at Excel's limit."""
    shown = _ESCAPE.sub(r"_x005F\g<0>", _UNWRITABLE.sub("\ufffd", text))
    if len(shown) <= _MAY_BE_LONGER:
        return shown
    raw = shown.encode("utf-16-le")
    if len(raw) <= 2 * MOST_UNITS:
        return shown
    # The cut may be inside a pair of surrogates.
    return raw[: 2 * (MOST_UNITS - 1)].decode("utf-16-le", errors="ignore") + "…"


def _summary_lines(status: BatchStatus) -> Iterator[Sequence[object]]:
    yield "name", status.name
    yield "state", status.state.value
    yield "reason", status.reason
    yield "profile", status.profile
    yield "source", source_name(status.source)
    yield _titled("created_at"), status.created_at
    yield _titled("ended_at"), status.ended_at
    yield from counts_of(status).items()
    yield "rejected", status.plan.get("rejected", 0)
    yield ()


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


def _titled(name: str) -> str:
    return f"{name} (UTC)" if name in _TIMES else name
