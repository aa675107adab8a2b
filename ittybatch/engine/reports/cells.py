"""Format CSV cells so that no spreadsheet treats keys or error texts as formulas."""

import re
from datetime import datetime

# A formula begins with one of these characters; some are full-width. In locales that separate
# cells with semicolons, a cell also begins after a semicolon.
_SIGN = re.compile(r"(^|[;\t\r\n])([\s\"']*)(?=[=+\-@＝＋－＠])")  # noqa: RUF001  on purpose
# Without this mark, Excel reads a file in Windows' encoding and shows Ã¼ for ü.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = ("\t", "\r", "\n")


def cell(value: object) -> str:
    """Format a value as a cell that no spreadsheet treats as a formula."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) else harmless(str(value))


def harmless(text: str) -> str:
    """Put an apostrophe before any text that a spreadsheet could treat as a formula."""
    marked = _SIGN.sub(r"\1\2'", text)
    return f"'{marked}" if marked.startswith(_BLANKS) else marked
