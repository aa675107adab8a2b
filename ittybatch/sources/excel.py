"""Reads the rows of an Excel sheet as items, as a person sees them: merged cells, hidden rows."""

import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import chain
from typing import IO, Any

import openpyxl
from openpyxl.utils import range_boundaries
from openpyxl.worksheet._reader import FORMULA_TAG, ROW_TAG, WorkSheetParser
from openpyxl.xml.functions import iterparse

from ittybatch.sources.cells import as_cell
from ittybatch.sources.columns import MAX_LINES_ABOVE, Columns, Likeness, likeness
from ittybatch.sources.manifest import ManifestSource, Position, unusable
from ittybatch.sources.page import Page, PageBuilder, Reject
from ittybatch.sources.rows import Rows
from ittybatch.sources.stream import spooled

# Excel's own limit. A file may claim any row number.
_MAX_ROWS = 1_048_576
_MAX_MERGED = 100_000
# How far to look for better titles below a row that may be the titles.
_MOST_ROWS_BELOW = 200
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z0-9:]{2,30})"')
_SCAN_BYTES = 1024 * 1024
_LONGEST_TAG = 200
_TRUE = {"1", "true"}

# openpyxl loads shared strings and styles into memory as a whole, but not sheets.
_MAX_PART_BYTES = 256 * 1024 * 1024
_MAX_SHEET_BYTES = 2 * 1024 * 1024 * 1024
# Sheets compress to a tenth or a thirtieth. A higher ratio is a decompression bomb.
_MAX_RATIO = 200
_MANY_BYTES = 16 * 1024 * 1024
_OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0"
_STRICT = b"purl.oclc.org/ooxml"
_WORKBOOK = "xl/workbook.xml"
_SAVE_AS = "save it as `Excel Workbook (.xlsx)`"
# Archives of other programs, by a part that each of them has.
_OTHERS = {
    "xl/workbook.bin": f"it is a binary workbook (.xlsb); {_SAVE_AS}",
    "content.xml": f"it is an OpenDocument sheet (.ods); {_SAVE_AS}",
    "Index/Document.iwa": "it is a Numbers document; export it as Excel or CSV",
    "word/document.xml": "it is a Word document; put the rows into a workbook",
}


@dataclass(slots=True)
class _SheetRow:
    """A row of a sheet.

    Args:
        number: Its number, counted from 1.
        values: Its values from the first column on.
        hidden: Whether it is hidden, grouped away or filtered out.
        unsaved: Places of formulas whose value is not in the file.
    """

    number: int
    values: list[Any]
    hidden: bool = False
    unsaved: set[int] = field(default_factory=set)


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
                elif (reject := _unsaved_formula(row, columns)) is not None:
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
        if (like := likeness(cells, source.columns)) > best:
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


def _filled(row: _SheetRow) -> list[str]:
    """The cells of a row up to the last one that is not empty."""
    cells = [_cell(value) for value in row.values]
    while cells and not cells[-1].strip():
        cells.pop()
    return cells


def _unsaved_formula(row: _SheetRow, columns: Columns) -> Reject | None:
    for place in columns.read:
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
    _check_workbook(file)
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
            parser = _Parser(source, self._workbook, self._sheet._shared_strings)  # noqa: SLF001
            for element in parser.elements():
                parser.unsaved = set()
                number, cells = parser.parse_row(element)
                if number > _MAX_ROWS:
                    return
                values: list[Any] = [None] * max((cell["column"] for cell in cells), default=0)
                for cell in cells:
                    values[cell["column"] - 1] = cell["value"]
                self._fill_merged(number, values)
                yield _SheetRow(number, values, _is_hidden(element), parser.unsaved)

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


def _check_workbook(file: IO[bytes]) -> None:
    """Refuse other files, and workbooks that unpack to too much.

    Args:
        file: The file, seekable; afterwards it is at its beginning.

    Raises:
        ValueError: The message says what the file is, and what to do.
    """
    beginning = file.read(4)
    file.seek(0)
    if beginning == _OLD_OR_ENCRYPTED:
        raise ValueError(f"it is encrypted, or an old .xls; {_SAVE_AS} without a password")
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            names = set(archive.namelist())
            beginning = b""
            if _WORKBOOK in names:
                with archive.open(_WORKBOOK) as workbook:
                    beginning = workbook.read(4096)
    except Exception as error:
        # Depending on the damage, zipfile raises its own errors, zlib's, and others.
        raise ValueError(f"it is no Excel workbook, or damaged: {error}") from error
    file.seek(0)
    for part in parts:
        _check_part(part)
    for name, what in _OTHERS.items():
        if name in names and _WORKBOOK not in names:
            raise ValueError(what)
    if _STRICT in beginning:
        raise ValueError(f"it is a `Strict Open XML` workbook; {_SAVE_AS}")


def _check_part(part: zipfile.ZipInfo) -> None:
    is_sheet = part.filename.startswith("xl/worksheets/")
    most = _MAX_SHEET_BYTES if is_sheet else _MAX_PART_BYTES
    if part.file_size > most:
        raise ValueError(f"its part {part.filename} has more than {most} bytes unpacked")
    if part.file_size > max(_MANY_BYTES, part.compress_size * _MAX_RATIO):
        raise ValueError(
            f"its part {part.filename} unpacks to {part.file_size} bytes from "
            f"{part.compress_size}, as no workbook does"
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
