"""Rows of an Excel workbook, read one after the other."""

import zipfile
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from typing import IO, Any

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

# Excel's own limit. A file may claim that its next row is the trillionth.
MAX_ROWS = 1_048_576
# Shared texts, styles and the like are held in memory as a whole; sheets are not.
MAX_PART_BYTES = 256 * 1024 * 1024
MAX_SHEET_BYTES = 2 * 1024 * 1024 * 1024
# Sheets shrink to a tenth or a thirtieth; what shrinks to less is made to burst.
MAX_RATIO = 200
_MANY_BYTES = 16 * 1024 * 1024

_OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0"


def workbook_rows(file: IO[bytes], sheet: str | None) -> Iterator[tuple[Any, ...]]:
    """Give the values of each row of a sheet, the first one included.

    Args:
        file: The workbook, seekable.
        sheet: Name of the sheet; the first one without it.

    Raises:
        ValueError: It is no workbook that can be read; the message says why.
    """
    _check(file)
    try:
        workbook = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise ValueError(f"it is no Excel workbook: {error}") from error
    with closing(workbook):
        if sheet is not None and sheet not in workbook.sheetnames:
            names = ", ".join(map(repr, workbook.sheetnames[:10]))
            raise ValueError(f"it has no sheet {sheet!r} (found: {names})")
        chosen = workbook[sheet] if sheet is not None else workbook.worksheets[0]
        # What the file says of its size is often wrong, and cuts rows off.
        chosen.reset_dimensions()
        try:
            yield from chosen.iter_rows(values_only=True, max_row=MAX_ROWS)
        except (zipfile.BadZipFile, EOFError, SyntaxError, KeyError, IndexError) as error:
            raise ValueError(f"it is damaged: {error}") from error


def as_value(value: object) -> object:
    """Make of a cell's value what a person sees: a day without a time is a day."""
    if isinstance(value, datetime) and value.time() == datetime.min.time():
        return date(value.year, value.month, value.day)
    return value


def _check(file: IO[bytes]) -> None:
    beginning = file.read(4)
    file.seek(0)
    if beginning == _OLD_OR_ENCRYPTED:
        raise ValueError("it is encrypted, or an old .xls; save it as .xlsx without a password")
    try:
        parts = zipfile.ZipFile(file).infolist()
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is no Excel workbook: {error}") from error
    for part in parts:
        is_sheet = part.filename.startswith("xl/worksheets/")
        most = MAX_SHEET_BYTES if is_sheet else MAX_PART_BYTES
        if part.file_size > most:
            raise ValueError(f"its part {part.filename} has more than {most} bytes unpacked")
        if part.file_size > max(_MANY_BYTES, part.compress_size * MAX_RATIO):
            raise ValueError(
                f"its part {part.filename} unpacks to {part.file_size} bytes from "
                f"{part.compress_size}, as no workbook does"
            )
    file.seek(0)
