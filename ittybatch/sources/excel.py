"""Reads the rows of an Excel sheet as items, as a person sees them: merged cells, hidden rows."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import chain
from typing import IO, TYPE_CHECKING, Any

import openpyxl
from openpyxl.cell.text import Text
from openpyxl.utils import range_boundaries
from openpyxl.utils.escape import unescape
from openpyxl.worksheet._reader import FORMULA_TAG, ROW_TAG, WorkSheetParser
from openpyxl.xml.functions import iterparse

from ittybatch.sources.cells import as_cell
from ittybatch.sources.columns import (
    MAX_LINES_ABOVE,
    METADATA_PREFIX,
    Columns,
    Likeness,
    is_more_alike,
    likeness,
)
from ittybatch.sources.excel_archive import check_workbook
from ittybatch.sources.manifest import ManifestSource, Position, unusable
from ittybatch.sources.page import Page, PageBuilder, Reject
from ittybatch.sources.rows import Rows
from ittybatch.sources.stream import spooled

if TYPE_CHECKING:
    from zipfile import ZipFile

# Excel's own limit. A file may claim any row number.
_MAX_ROWS = 1_048_576
_MAX_MERGED = 100_000
# How far to look for better titles below a row that may be the titles.
_MOST_ROWS_BELOW = 200
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z0-9:]{2,30})"')
_SCAN_BYTES = 1024 * 1024
_LONGEST_TAG = 200
_TRUE = {"1", "true"}

_STRINGS = "xl/sharedstrings.xml"
# openpyxl drops it from shared strings. It stands for an underscore, but only after another one.
_DROPPED = b"x005F_"


@dataclass(slots=True)
class _SheetRow:
    """A row of a sheet.

    Args:
        number: Its number, counted from 1.
        values: Its values from the first column on.
        hidden: Whether it is hidden, grouped away or filtered out.
        unsaved: Places of formulas whose value is not in the file.
        errors: Errors that cells show in place of a value, such as `#REF!`, by place.
    """

    number: int
    values: list[Any]
    hidden: bool = False
    unsaved: set[int] = field(default_factory=set)
    errors: dict[int, str] = field(default_factory=dict)


def read_excel(source: ManifestSource, position: Position, page_size: int) -> Iterator[Page]:
    """Read a sheet of a workbook in pages; arguments and errors as for `read_manifest`."""
    manifest = spooled(source.uri, position.identity, request_payer=source.request_payer)
    with manifest as (file, identity):
        builder = PageBuilder(page_size)
        number = 0
        try:
            sheet = _sheet_rows(file, source.sheet)
            titles, above, sheet = _titles(source, sheet)
            if position.line == 1:
                builder.filter("line above the titles", above)
            columns = Columns.from_header(titles, source.columns)
            rows = Rows(columns, typed=True)
            for row in sheet:
                number = row.number
                if number < position.line:
                    continue
                if row.hidden and not source.hidden_rows:
                    builder.filter("hidden row")
                elif (reject := _without_value(row, columns)) is not None:
                    builder.add(reject)
                else:
                    # Cells to the right of the table are not part of it.
                    values = row.values[: len(columns.names)]
                    builder.add(rows.item_of(number, [_cell(value) for value in values]))
                if builder.free == 0:
                    yield builder.build(Position(identity, line=number + 1).cursor(source))
        except ValueError as error:
            raise unusable(source, str(error)) from error
        if builder:
            yield builder.build(Position(identity, line=number + 1).cursor(source))


def _titles(
    source: ManifestSource, sheet: Iterator[_SheetRow]
) -> tuple[list[str], int, Iterator[_SheetRow]]:
    """Return the titles, how many rows above them are not empty, and the rows below them."""
    above: list[list[str]] = []
    best = Likeness.NOT
    titles: list[str] = []
    place = 0
    below: list[_SheetRow] = []
    for row in sheet:
        cells = _filled(row)
        if source.header_row is not None:
            if row.number == source.header_row:
                return cells, len(above), sheet
            continue
        like = likeness(cells, source.columns)
        if like and is_more_alike(like, cells, best, titles):
            best, titles, place, below = like, cells, len(above), []
            if like is Likeness.EXACT:
                break
        elif best:
            below.append(row)
        if cells:
            above.append(cells)
        if len(above) >= MAX_LINES_ABOVE or len(below) >= _MOST_ROWS_BELOW:
            break
    if best:
        return titles, place, chain(below, sheet)
    Columns.from_header(above[0] if above else [], source.columns)
    raise ValueError("it has no row of titles")


def _texts(part: IO[bytes]) -> Iterator[str]:
    """Read the shared strings, and keep none of their elements."""
    depth = 0
    for event, element in iterparse(part, ("start", "end")):
        if event == "start":
            depth += 1
            if depth == 1:
                root = element
            continue
        depth -= 1
        if element.tag.endswith("}si"):
            yield text.content if (text := Text.from_tree(element)) else ""
        if depth == 1:
            root.clear()


def _filled(row: _SheetRow) -> list[str]:
    """The cells of a row up to the last one that is not empty."""
    cells = [_cell(value) for value in row.values]
    while cells and not cells[-1].strip():
        cells.pop()
    return cells


def _without_value(row: _SheetRow, columns: Columns) -> Reject | None:
    """A reject for a cell whose value is missing, where that would change the job."""
    for place in columns.read:
        name = columns.names[place]
        if place in row.errors and name != "size_bytes" and not name.startswith(METADATA_PREFIX):
            return Reject(
                row.number,
                name,
                f"shows the error {row.errors[place]}; correct its formula, or clear the cell",
                "",
            )
        if place in row.unsaved and columns.names[place] != "size_bytes":
            return Reject(
                row.number,
                columns.names[place],
                "holds a formula whose value is not saved in the file; open the workbook in Excel "
                "or LibreOffice and save it, or write the value",
                "",
            )
    return None


def _cell(value: object) -> str:
    # Excel stores a day as midnight of that day.
    if isinstance(value, datetime) and value.time() == datetime.min.time():
        value = date(value.year, value.month, value.day)
    return as_cell(value)


def _sheet_rows(file: IO[bytes], sheet: str | None) -> Iterator[_SheetRow]:
    """Yield the rows of a sheet; rows without a cell may be missing.

    Args:
        file: The workbook, seekable.
        sheet: Name of the sheet; None for the first visible one.

    Raises:
        ValueError: The workbook cannot be read; the message says why.
    """
    check_workbook(file)
    try:
        with warnings.catch_warnings():
            # openpyxl warns of styles and extensions, which are not read here.
            warnings.simplefilter("ignore")
            workbook = openpyxl.load_workbook(
                file, read_only=True, data_only=True, keep_links=False
            )
    except Exception as error:
        # openpyxl has no error of its own for damaged files.
        raise ValueError(f"it is no Excel workbook, or damaged: {_first_line(error)}") from error
    with closing(workbook):
        chosen = _chosen_sheet(workbook, sheet)
        try:
            yield from _Sheet(workbook, chosen).rows()
        except Exception as error:
            raise ValueError(
                f"its sheet {chosen.title!r} is damaged: {_first_line(error)}"
            ) from error


def _chosen_sheet(workbook: Any, sheet: str | None) -> Any:  # noqa: ANN401 - openpyxl's own
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
    """openpyxl's parser, which also notes formulas without a value, and reads only rows."""

    def __init__(self, source: IO[bytes], workbook: Any, shared_strings: Any) -> None:  # noqa: ANN401
        super().__init__(
            source,
            shared_strings,
            data_only=True,
            epoch=workbook.epoch,
            date_formats=workbook._date_formats,  # noqa: SLF001 - openpyxl has no public way
            timedelta_formats=workbook._timedelta_formats,  # noqa: SLF001
        )
        self.unsaved: set[int] = set()
        self.errors: dict[int, str] = {}

    def elements(self) -> Iterator[Any]:
        """Yield the XML element of each row."""
        for _, element in iterparse(self.source):
            if element.tag == ROW_TAG:
                yield element
                element.clear()

    def parse_cell(self, element: Any) -> dict[str, Any]:  # noqa: ANN401 - an XML element
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cell: dict[str, Any] = super().parse_cell(element)
        if cell["value"] is None and element.find(FORMULA_TAG) is not None:
            self.unsaved.add(cell["column"] - 1)
        elif cell["data_type"] == "e":
            self.errors[cell["column"] - 1] = str(cell["value"])[:20]
            cell["value"] = None
        elif cell["data_type"] == "s" and "_x" in (cell["value"] or ""):
            # A line end at the end of a cell cannot be seen.
            cell["value"] = unescape(cell["value"]).strip("\r\n")
        return cell


class _Sheet:
    """The rows of a sheet, each with the values of the merged cells that reach into it."""

    def __init__(self, workbook: Any, sheet: Any) -> None:  # noqa: ANN401 - openpyxl's own
        self._workbook = workbook
        self._sheet = sheet
        self._merged: dict[int, list[tuple[int, int]]] = {}
        # Merged cells that reach to the current row: last row and value, by column.
        self._open: dict[int, tuple[int, Any]] = {}

    def rows(self) -> Iterator[_SheetRow]:
        with self._source() as source:
            self._merged = _merged_cells(source)
        with self._source() as source:
            parser = _Parser(source, self._workbook, self._strings())
            for element in parser.elements():
                parser.unsaved, parser.errors = set(), {}
                number, cells = parser.parse_row(element)
                if number > _MAX_ROWS:
                    return
                values: list[Any] = [None] * max((cell["column"] for cell in cells), default=0)
                for cell in cells:
                    values[cell["column"] - 1] = cell["value"]
                self._fill_merged(number, values)
                yield _SheetRow(number, values, _is_hidden(element), parser.unsaved, parser.errors)

    def _strings(self) -> Sequence[str]:
        """The shared strings as they are written: openpyxl drops escapes of underscores."""
        strings: list[str] = self._sheet._shared_strings  # noqa: SLF001 - no public way
        archive: ZipFile = self._workbook._archive  # noqa: SLF001
        name = next((each for each in archive.namelist() if each.lower() == _STRINGS), None)
        if name is None:
            return strings
        with archive.open(name) as part:
            rest = b""
            while (block := part.read(_SCAN_BYTES)) and _DROPPED not in rest + block:
                rest = block[-len(_DROPPED) :]
        if not block:
            return strings
        with archive.open(name) as part:
            return list(_texts(part))

    def _source(self) -> IO[bytes]:
        source: IO[bytes] = self._sheet._get_source()  # noqa: SLF001 - openpyxl has no public way
        return source

    def _fill_merged(self, number: int, values: list[Any]) -> None:
        """Copy a merged cell's value into each of its rows that has another value."""
        if not self._merged:
            return
        is_filled = any(value is not None for value in values)
        for place, (last, value) in list(self._open.items()):
            if number > last:
                del self._open[place]
            elif is_filled:
                values.extend([None] * (place + 1 - len(values)))
                values[place] = value
        for place, last in self._merged.get(number, ()):
            if place < len(values):
                self._open[place] = (last, values[place])


def _merged_cells(source: IO[bytes]) -> dict[int, list[tuple[int, int]]]:
    """Find the cells that are merged with cells below: column and last row, by first row.

    Sheets list merged cells after all rows, so this reads the sheet once.
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


def _is_hidden(row: Any) -> bool:  # noqa: ANN401 - an XML element
    height = row.get("ht")
    return row.get("hidden") in _TRUE or (height is not None and float(height) == 0)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
