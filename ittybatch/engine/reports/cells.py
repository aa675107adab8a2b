"""Cells of CSV files, which people open in spreadsheets, whatever keys and errors hold."""

import re
from datetime import datetime

# What a spreadsheet takes for the beginning of a formula, full-width signs among it. A cell
# begins not only at its comma: where a locale's separator is a semicolon, the file is cut there.
_SIGN = re.compile(r"(^|[;\t\r\n])([\s\"']*)(?=[=+\-@＝＋－＠])")  # noqa: RUF001  meant so
# Without it Excel reads a file as Windows' own encoding, and shows Ã¼ for ü.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = ("\t", "\r", "\n")


def cell(value: object) -> str:
    """A value as the text of a cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) else harmless(str(value))


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe stands before what might be."""
    marked = _SIGN.sub(r"\1\2'", text)
    return f"'{marked}" if marked.startswith(_BLANKS) else marked
