"""CSV records with the lines of the file that they stand on.

pandas reads faster, but drops the lines of bad rows and counts records where people count
lines. The csv module tells both, and one line at a time it can also be led out of a quote that
somebody forgot to close.
"""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ittybatch.sources.blocks import BLOCK_BYTES, Block

MAX_LINE_BYTES = 1024 * 1024
# A quoted cell may hold pretty-printed JSON; a quote left open would hold the whole file.
MAX_LINES = 500

_OPEN_QUOTE = "a quote that opens on this line is not closed, or not followed by a separator"
_UNDOUBLED = "expected after '\"'"


class LineSource(Protocol):
    """Whatever gives bytes line by line, as binary files do."""

    def readline(self, limit: int, /) -> bytes:
        """Give the next line, or its beginning up to the limit; none at the end."""

    def read(self, size: int, /) -> bytes:
        """Give so many bytes; fewer at the end alone."""


@dataclass(slots=True)
class Record:
    """One record, or what stands in its place.

    Args:
        line: Line on which it begins, counted from 1.
        cells: Its values; none for an empty line.
        problem: Why it cannot be read; None where it can.
        text: What can be shown of a record that cannot be read.
    """

    line: int
    cells: list[str]
    problem: str | None = None
    text: str = ""


class Records:
    """The records of a CSV file, one after the other.

    Args:
        source: Bytes in UTF-8, a byte order mark allowed.
        line: Number of the first line that the source gives.
        offset: Byte of the file at which it begins.
        delimiter: The character between values.
        encoding: What the file is written in, for messages.
    """

    def __init__(
        self,
        source: LineSource,
        line: int = 1,
        offset: int = 0,
        *,
        delimiter: str = ",",
        encoding: str = "utf-8",
    ) -> None:
        self._line = line
        self._offset = offset
        self._delimiter = delimiter
        self._encoding = encoding.upper()
        self._source = source
        self._block = Block(b"")
        self._pending: deque[bytes] = deque()
        self._taken: list[bytes] = []
        self._undecodable = False
        self._csv = self._new_csv()

    def __iter__(self) -> Iterator[Record]:
        while (record := self.next()) is not None:
            yield record

    def next(self) -> Record | None:
        """Give the next record; None at the end."""
        self._pass()
        try:
            cells = next(self._csv)
        except StopIteration:
            return None
        except csv.Error as error:
            # What is wrong on a later line began with a quote on the first.
            reason = _OPEN_QUOTE if self.spans_lines else str(error)
            if reason == "unexpected end of data":
                reason = _OPEN_QUOTE
            elif reason.endswith(_UNDOUBLED):
                reason = "a quote inside a quoted value is not doubled"
            return self._unreadable(reason)
        if self._undecodable:
            return self._unreadable(f"is not {self._encoding}; save the file as UTF-8")
        return Record(self._line, cells)

    def next_regular(self, most: int) -> tuple[int, list[list[str]], bool]:
        """Give the records that follow, as long as each stands on a line of its own.

        It is several times as fast as `next`, which is for what it stops at.

        Args:
            most: Give no more than these.

        Returns:
            Line of the first one; the values of each; and whether all of these are known to be
            short and without control characters.
        """
        self._pass()
        if self._pending:
            return self._line, [], False
        if not self._block.left:
            self._block = self._next_block()
        line, block = self._line, self._block
        rows, size_bytes = block.rows(most, self._delimiter)
        self._line += len(rows)
        self._offset += size_bytes
        return line, rows, block.plain

    @property
    def next_line(self) -> int:
        """Line on which the next record begins."""
        return self._line + len(self._taken)

    @property
    def next_offset(self) -> int:
        """Byte of the file at which the next record begins."""
        return self._offset + sum(map(len, self._taken))

    @property
    def spans_lines(self) -> bool:
        """Whether the last record stands on several lines."""
        return len(self._taken) > 1

    def keep_first_line_only(self) -> None:
        """Read the lines after the last record's first one again, as records of their own."""
        self._pending.extendleft(reversed(self._taken[1:]))
        del self._taken[1:]
        self._csv = self._new_csv()

    def _pass(self) -> None:
        self._line, self._offset = self.next_line, self.next_offset
        self._taken.clear()
        self._undecodable = False

    def _new_csv(self) -> "Iterator[list[str]]":
        return csv.reader(self._lines(), strict=True, delimiter=self._delimiter)

    def _lines(self) -> Iterator[str]:
        while raw := self._next_line():
            self._taken.append(raw)
            if len(self._taken) > MAX_LINES:
                raise csv.Error(_OPEN_QUOTE)
            if len(raw) >= MAX_LINE_BYTES:
                self._skip_rest_of_line()
                raise csv.Error(f"the line has more than {MAX_LINE_BYTES} bytes")
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                self._undecodable = True
                text = raw.decode(errors="replace")
            yield text.removeprefix("\ufeff") if self._offset == 0 else text

    def _next_line(self) -> bytes:
        if self._pending:
            return self._pending.popleft()
        return self._block.pop_line() or self._source.readline(MAX_LINE_BYTES)

    def _next_block(self) -> "Block":
        content = self._source.read(BLOCK_BYTES)
        if content and not content.endswith(b"\n"):
            content += self._source.readline(MAX_LINE_BYTES - len(content.rpartition(b"\n")[2]))
        return Block(content)

    def _skip_rest_of_line(self) -> None:
        if self.spans_lines:
            # It will be met again as the first line of a record.
            return
        # Its bytes are passed, not kept.
        while not self._taken[-1].endswith(b"\n"):
            block = self._source.readline(MAX_LINE_BYTES)
            if not block:
                return
            self._offset += len(self._taken[-1])
            self._taken[-1] = block

    def _unreadable(self, reason: str) -> Record:
        text = self._taken[0][:1000].decode(errors="replace") if self._taken else ""
        # Lines that the record swallowed may be sound rows.
        self.keep_first_line_only()
        return Record(self._line, [], reason, text)
