"""Reads Parquet files and Excel workbooks page by page."""

from collections.abc import Iterator

from ittybatch.sources.cells import as_cell
from ittybatch.sources.columns import Columns, has_input
from ittybatch.sources.gathering import Gathering
from ittybatch.sources.header import MAX_LINES_ABOVE
from ittybatch.sources.manifest import ManifestSource
from ittybatch.sources.manifest_place import Place, unusable
from ittybatch.sources.page import Page, Reject
from ittybatch.sources.rows import Rows
from ittybatch.sources.spool import spooled
from ittybatch.sources.tables import ParquetTable
from ittybatch.sources.workbook import SheetRow, as_value, sheet_rows

HIDDEN_ROW = "hidden row"
_ABOVE = "line above the titles"


def read_parquet(source: ManifestSource, place: Place, page_size: int) -> Iterator[Page]:
    """Read a Parquet file; `manifest_pages.read_manifest` has the arguments and errors."""
    with spooled(source.uri, place.identity) as (file, identity):
        gathering = Gathering(page_size)
        number = place.line - 1
        try:
            table = ParquetTable(file)
            columns = Columns.from_header(table.titles, source.columns)
            rows = Rows(columns, typed=True)
            for row in table.rows(number, columns.read):
                number += 1
                gathering.add(rows.item_of(number, list(map(as_cell, row))))
                if gathering.room == 0:
                    yield gathering.page(Place(identity, line=number + 1).cursor(source))
        except ValueError as error:
            raise unusable(source, str(error)) from error
        if gathering.any:
            yield gathering.page(Place(identity, line=number + 1).cursor(source))


def read_excel(source: ManifestSource, place: Place, page_size: int) -> Iterator[Page]:
    """Read a sheet of a workbook; `manifest_pages.read_manifest` has the arguments and errors."""
    with spooled(source.uri, place.identity) as (file, identity):
        gathering = Gathering(page_size)
        number = 0
        try:
            sheet = sheet_rows(file, source.sheet)
            titles, above = _titles(source, sheet)
            if place.line == 1:
                gathering.leave_out(_ABOVE, above)
            columns = Columns.from_header(titles, source.columns)
            reader = _SheetReader(Rows(columns, typed=True), columns)
            for row in sheet:
                number = row.number
                if number < place.line:
                    continue
                if row.hidden and not source.hidden_rows:
                    gathering.leave_out(HIDDEN_ROW)
                else:
                    reader.add(row, gathering)
                if gathering.room == 0:
                    yield gathering.page(Place(identity, line=number + 1).cursor(source))
        except ValueError as error:
            raise unusable(source, str(error)) from error
        if gathering.any:
            yield gathering.page(Place(identity, line=number + 1).cursor(source))


class _SheetReader:
    """Makes items of a sheet's rows."""

    def __init__(self, rows: Rows, columns: Columns) -> None:
        self._rows = rows
        self._columns = columns

    def add(self, row: SheetRow, gathering: Gathering) -> None:
        """Read a row; what stands beside the table is not part of it."""
        names = self._columns.names
        for place in self._columns.read:
            if place in row.unsaved and names[place] != "size_bytes":
                gathering.add(
                    Reject(
                        row.number,
                        names[place],
                        "holds a formula whose value is not saved in the file; open the workbook "
                        "in Excel or LibreOffice and save it, or write the value",
                        "",
                    )
                )
                return
        cells = [as_cell(as_value(value)) for value in row.values[: len(names)]]
        gathering.add(self._rows.item_of(row.number, cells))


def _titles(source: ManifestSource, sheet: Iterator[SheetRow]) -> tuple[list[str], int]:
    """Find the row of titles; give them, and how many rows above it hold something."""
    above: list[list[str]] = []
    for row in sheet:
        cells = [as_cell(as_value(value)) for value in row.values]
        while cells and not cells[-1].strip():
            cells.pop()
        if source.header_row is not None:
            if row.number == source.header_row:
                return cells, len(above)
            continue
        if has_input(cells, source.columns):
            return cells, len(above)
        if cells:
            above.append(cells)
        if len(above) >= MAX_LINES_ABOVE:
            break
    Columns.from_header(above[0] if above else [], source.columns)
    raise ValueError("it has no row of titles")
