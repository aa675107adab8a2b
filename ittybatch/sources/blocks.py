"""Stretches of a CSV file whose records each stand on a line of their own."""

import csv
import io
import re
from itertools import islice

BLOCK_BYTES = 256 * 1024
SHORT_LINE_BYTES = 2048

_MAX_WHOLE_LINE_BYTES = 1024 * 1024
# Whatever may not stand in a value. A carriage return may end a line, with the line feed.
_UNPLAIN = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]|\r(?!\n)")


class Block:
    """Some lines, read ahead.

    Args:
        content: Whole lines, but for the last one of all.
    """

    def __init__(self, content: bytes) -> None:
        # Not `splitlines`, for which a lone carriage return ends a line, too.
        self._lines = io.BytesIO(content).readlines()
        self._texts: list[str] = []
        self._at = 0
        text = self._decoded(content)
        self._texts = io.StringIO(text, newline="\n").readlines()
        self.plain = not (
            _UNPLAIN.search(text) or max(map(len, self._lines), default=0) > SHORT_LINE_BYTES
        )

    @property
    def left(self) -> bool:
        """Whether there are lines that nobody has taken."""
        return self._at < len(self._lines)

    def pop_line(self) -> bytes:
        """Take the next line; nothing where there is none."""
        if not self.left:
            return b""
        self._at += 1
        return self._lines[self._at - 1]

    def rows(self, most: int, delimiter: str) -> tuple[list[list[str]], int]:
        """Take the values of the lines that follow, up to the first that is no record by itself.

        Args:
            most: Take no more than these.
            delimiter: The character between values.

        Returns:
            The values of each line, and how many bytes all of them have.
        """
        rows: list[list[str]] = []
        lines = islice(self._texts, self._at, None)
        reader = csv.reader(lines, strict=True, delimiter=delimiter)
        try:
            for row in islice(reader, most):
                if reader.line_num > len(rows) + 1:
                    break
                rows.append(row)
        except csv.Error:
            # Read again by itself, which tells what is wrong.
            pass
        start, self._at = self._at, self._at + len(rows)
        return rows, sum(map(len, self._lines[start : self._at]))

    def _decoded(self, content: bytes) -> str:
        """Its text, or its beginning where a line is too long or no UTF-8."""
        if self._lines and len(self._lines[-1]) >= _MAX_WHOLE_LINE_BYTES:
            content = content[: -len(self._lines[-1])]
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            return content[: content.rfind(b"\n", 0, error.start) + 1].decode()
