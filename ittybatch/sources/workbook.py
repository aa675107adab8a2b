"""Rows of an Excel workbook, as a person sees them: which are hidden, and what is merged."""

import re
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import IO, Any

import openpyxl
from openpyxl.utils import range_boundaries
from openpyxl.worksheet._reader import FORMULA_TAG, ROW_TAG, WorkSheetParser
from openpyxl.xml.functions import iterparse

from ittybatch.sources.workbook_check import check_workbook

# Excel's own limit. A file may claim that its next row is the trillionth.
MAX_ROWS = 1_048_576
_MAX_MERGED = 100_000
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z0-9:]{2,30})"')
_SCAN_BYTES = 1024 * 1024
_LONGEST_TAG = 200
_TRUE = {"1", "true"}


@dataclass(slots=True)
class SheetRow:
    """A row of a sheet.

    Args:
        number: Its number, counted from 1.
        values: Its values from the first column on.
        hidden: Whether a filter, a group or a person has hidden it.
        unsaved: Places of formulas whose value is not in the file.
    """

    number: int
    values: list[Any]
    hidden: bool = False
    unsaved: set[int] = field(default_factory=set)


def sheet_rows(file: IO[bytes], sheet: str | None) -> Iterator[SheetRow]:
    """Give the rows of a sheet; rows without a cell may be left out.

    Args:
        file: The workbook, seekable.
        sheet: Name of the sheet; the first visible one without it.

    Raises:
        ValueError: It is no workbook that can be read; the message says why.
    """
    check_workbook(file)
    try:
        with warnings.catch_warnings():
            # It warns of styles and extensions, none of which are read here.
            warnings.simplefilter("ignore")
            workbook = openpyxl.load_workbook(
                file, read_only=True, data_only=True, keep_links=False
            )
    except Exception as error:
        # openpyxl has no error of its own for damage: whatever its code meets is raised.
        raise ValueError(f"it is no Excel workbook, or damaged: {_words(error)}") from error
    with closing(workbook):
        chosen = _chosen(workbook, sheet)
        try:
            yield from _Sheet(workbook, chosen).rows()
        except Exception as error:
            raise ValueError(f"its sheet {chosen.title!r} is damaged: {_words(error)}") from error


def as_value(value: object) -> object:
    """Make of a cell's value what a person sees: a day without a time is a day."""
    if isinstance(value, datetime) and value.time() == datetime.min.time():
        return date(value.year, value.month, value.day)
    return value


def _chosen(workbook: Any, sheet: str | None) -> Any:  # noqa: ANN401 - openpyxl's own
    names = ", ".join(repr(each.title) for each in workbook.worksheets[:10]) or "none"
    if sheet is not None:
        wanted = sheet.strip().casefold()
        for each in workbook.worksheets:
            if each.title.strip().casefold() == wanted:
                return each
        raise ValueError(f"it has no sheet {sheet!r} of cells (found: {names})")
    visible = [each for each in workbook.worksheets if each.sheet_state == "visible"]
    if not visible:
        raise ValueError(
            f"it has no visible sheet of cells, only charts or hidden sheets (found: {names}); "
            "name one with `sheet`"
        )
    return visible[0]


class _Parser(WorkSheetParser):
    """openpyxl's own, which also notes formulas without a value, and reads rows alone."""

    def __init__(self, source: IO[bytes], workbook: Any, shared_strings: Any) -> None:  # noqa: ANN401
        super().__init__(
            source,
            shared_strings,
            data_only=True,
            epoch=workbook.epoch,
            date_formats=workbook._date_formats,  # noqa: SLF001 - its reader has no other way
            timedelta_formats=workbook._timedelta_formats,  # noqa: SLF001
        )
        self.unsaved: set[int] = set()

    def elements(self) -> Iterator[Any]:
        """Give each row's element."""
        for _, element in iterparse(self.source):
            if element.tag == ROW_TAG:
                yield element
                element.clear()

    def parse_cell(self, element: Any) -> dict[str, Any]:  # noqa: ANN401 - an element
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cell: dict[str, Any] = super().parse_cell(element)
        if cell["value"] is None and element.find(FORMULA_TAG) is not None:
            self.unsaved.add(cell["column"] - 1)
        return cell


class _Sheet:
    def __init__(self, workbook: Any, sheet: Any) -> None:  # noqa: ANN401 - openpyxl's own
        self._workbook = workbook
        self._sheet = sheet
        self._merged: dict[int, list[tuple[int, int]]] = {}
        # Column, and last row, of the merged cells that reach down to where we are.
        self._open: dict[int, tuple[int, Any]] = {}

    def rows(self) -> Iterator[SheetRow]:
        with self._source() as source:
            self._merged = _merged_cells(source)
        with self._source() as source:
            parser = _Parser(source, self._workbook, self._sheet._shared_strings)  # noqa: SLF001
            for element in parser.elements():
                parser.unsaved = set()
                number, cells = parser.parse_row(element)
                if number > MAX_ROWS:
                    return
                values: list[Any] = [None] * max((cell["column"] for cell in cells), default=0)
                for cell in cells:
                    values[cell["column"] - 1] = cell["value"]
                self._fill(number, values)
                yield SheetRow(number, values, _is_hidden(element), parser.unsaved)

    def _source(self) -> IO[bytes]:
        source: IO[bytes] = self._sheet._get_source()  # noqa: SLF001 - likewise
        return source

    def _fill(self, number: int, values: list[Any]) -> None:
        """Write a merged cell's value into each of its rows that has something of its own."""
        if not self._merged:
            return
        own = any(value is not None for value in values)
        for place, (last, value) in list(self._open.items()):
            if number > last:
                del self._open[place]
            elif own:
                values.extend([None] * (place + 1 - len(values)))
                values[place] = value
        for place, last in self._merged.get(number, ()):
            if place < len(values):
                self._open[place] = (last, values[place])


def _merged_cells(source: IO[bytes]) -> dict[int, list[tuple[int, int]]]:
    """Column and last row of each cell that is merged with others below, by its first row.

    They stand behind the rows that they are about.
    """
    found: dict[int, list[tuple[int, int]]] = {}
    count = 0
    rest = b""
    while block := source.read(_SCAN_BYTES):
        content = rest + block
        end = 0
        for match in _MERGED.finditer(content):
            end = match.end()
            first_column, first_row, _, last_row = range_boundaries(match[1].decode())
            if first_column is None or first_row is None or last_row is None:
                continue
            count += last_row > first_row
            if count > _MAX_MERGED:
                raise ValueError(f"more than {_MAX_MERGED} cells are merged")
            if last_row > first_row:
                found.setdefault(int(first_row), []).append((int(first_column) - 1, int(last_row)))
        rest = content[max(end, len(content) - _LONGEST_TAG) :]
    return found


def _is_hidden(row: Any) -> bool:  # noqa: ANN401 - an element
    height = row.get("ht")
    return row.get("hidden") in _TRUE or (height is not None and float(height) == 0)


def _words(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
