"""Lines of a CSV file: read many at once if each is a record, or examined for their quotes."""

import csv
import io
import re
from collections.abc import Sequence
from functools import cache
from itertools import islice

BLOCK_BYTES = 256 * 1024
SHORT_LINE_BYTES = 2048

_MAX_WHOLE_LINE_BYTES = 1024 * 1024
# Characters that a value must not contain. A line may end with a carriage return and a line feed.
_UNPLAIN = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]|\r(?!\n)")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


class Block:
    """Some lines that were read ahead.

    Args:
        content: Whole lines. Only the last line of the file may have no line feed.
    """

    def __init__(self, content: bytes) -> None:
        # `splitlines` would also split at a lone carriage return.
        self._lines = io.BytesIO(content).readlines()
        self._at = 0
        text = self._decoded(content)
        self._texts = io.StringIO(text, newline="\n").readlines()
        self.plain = not (
            _UNPLAIN.search(text) or max(map(len, self._lines), default=0) > SHORT_LINE_BYTES
        )

    @property
    def left(self) -> bool:
        """Whether some lines were not taken yet."""
        return self._at < len(self._lines)

    def pop_line(self) -> bytes:
        """Take the next line; empty at the end."""
        if not self.left:
            return b""
        self._at += 1
        return self._lines[self._at - 1]

    def rows(self, most: int, delimiter: str) -> tuple[list[list[str]], int]:
        """Take lines up to the first one that is not a record by itself.

        Args:
            most: How many lines to take at most.
            delimiter: The character between values.

        Returns:
            The values of each line, and the size of all these lines in bytes.
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
            # `Records.next` reads this line again and finds out what is wrong.
            pass
        start, self._at = self._at, self._at + len(rows)
        return rows, sum(map(len, self._lines[start : self._at]))

    def _decoded(self, content: bytes) -> str:
        """Decode the text, up to a line that is too long or not UTF-8."""
        if self._lines and len(self._lines[-1]) >= _MAX_WHOLE_LINE_BYTES:
            content = content[: -len(self._lines[-1])]
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            return content[: content.rfind(b"\n", 0, error.start) + 1].decode()


@cache
def _regular(delimiter: str) -> re.Pattern[str]:
    mark = re.escape(delimiter)
    value = rf'(?:"(?:[^"]|"")*+"|[^"{mark}]*+)'
    return re.compile(rf"{value}(?:{mark}{value})*+")


def is_regular(line: str, delimiter: str) -> bool:
    """Say whether each value of a line is quoted as a whole or has no quote in it.

    Args:
        line: Without its end.
        delimiter: The character between values.
    """
    return '"' not in line or _regular(delimiter).fullmatch(line) is not None


def literal_cells(line: str, delimiter: str) -> list[str]:
    """Split a line at each delimiter; only quotes around a whole value are not characters."""
    cells = line.rstrip("\r\n").split(delimiter)
    return [cell[1:-1].replace('""', '"') if _QUOTED.fullmatch(cell) else cell for cell in cells]


def opening_line(lines: Sequence[bytes]) -> int:
    """Find the line of a record on which its last quote opens, counted from 0.

    A quoted value opens and closes on lines with an odd number of quotes. Lines in between have
    an even number.
    """
    odd = [place for place, line in enumerate(lines) if line.count(b'"') % 2]
    if not odd:
        return 0
    return odd[-1] if len(odd) % 2 else odd[-2]
