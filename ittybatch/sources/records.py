"""CSV records with their line numbers in the file.

pandas is faster, but it drops the line numbers of bad rows, and it counts records instead of
lines. The csv module reads one line at a time, so this module can tell a quote that was never
closed from a long value:

1. A closing quote before a delimiter or the end of a line ends a value, however many lines the
   value spans. Nothing inside the value is a row.
2. A quote that closes in the wrong place (text follows, or the record has more values than
   titles) makes its row a reject. The lines it spans are rows only if each of them is a whole row.
3. A quote that never closes makes its row a reject. Reading continues at the first of
   `PROOF_LINES` consecutive whole rows, or of whole rows up to the end of the file.

A whole row has as many values as titles, a usable input, and no stray quote. The reject names
the lines that were not read: a line of a transcript read as a row would become a paid job.

In TSV a quote is an ordinary character, except around a whole value.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ittybatch.sources.blocks import (
    BLOCK_BYTES,
    Block,
    is_regular,
    literal_cells,
    opening_line,
)

MAX_LINE_BYTES = 1024 * 1024
# Limits the memory of one record: after an open quote it would be the whole file.
MAX_RECORD_BYTES = 8 * 1024 * 1024
# Text does not have this many consecutive lines that are whole rows with a usable address.
PROOF_LINES = 20

_UNDOUBLED = "expected after '\"'"
_LONE_RETURN = "holds a carriage return in the middle; remove it, or put its value in quotes"
_CLOSE_IT = 'close it, or write "" for a quote inside a quoted value'
# The csv module's default of 131,072 characters a value is for streams without other limits.
csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD_BYTES))


class LineSource(Protocol):
    """A binary file."""

    def readline(self, limit: int, /) -> bytes:
        """Return the next line, or its beginning up to the limit; empty at the end."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes; fewer only at the end."""


@dataclass(slots=True)
class Record:
    """One record, or the reason why it cannot be read.

    Args:
        line: Line on which it begins, counted from 1.
        cells: Its values; none for an empty line.
        problem: Why it cannot be read; None if it can.
        text: The beginning of a record that cannot be read.
    """

    line: int
    cells: list[str]
    problem: str | None = None
    text: str = ""


class _OpenQuoteError(csv.Error):
    pass


class _LongLineError(csv.Error):
    pass


class Records:
    """The records of a CSV file, one after the other.

    Args:
        source: Bytes in UTF-8, possibly with a byte order mark.
        line: Number of the source's first line.
        offset: Byte of the file at which that line begins.
        delimiter: The character between values.
        encoding: The file's encoding, for messages.
        ahead: Lines that were already read from the source.
    """

    def __init__(
        self,
        source: LineSource,
        line: int = 1,
        offset: int = 0,
        *,
        delimiter: str = ",",
        encoding: str = "utf-8",
        ahead: Sequence[bytes] = (),
    ) -> None:
        self._line = line
        self._offset = offset
        self._delimiter = delimiter
        self._encoding = encoding.upper()
        self._source = source
        self._block = Block(b"")
        self._pending: deque[bytes] = deque(ahead)
        self._taken: list[bytes] = []
        self._unread_lines = 0
        self._unread_bytes = 0
        self._undecodable = False
        self._width: int | None = None
        self._is_row: Callable[[list[str]], bool] = lambda _: False
        self._csv = self._new_csv()

    def expect(self, width: int, is_row: Callable[[list[str]], bool]) -> None:
        """Set what a whole row is, to tell rows from the text of a broken value.

        Args:
            width: How many titles there are.
            is_row: Returns whether values make an item.
        """
        self._width = width
        self._is_row = is_row

    def __iter__(self) -> Iterator[Record]:
        while (record := self.next()) is not None:
            yield record

    def next(self) -> Record | None:
        """Return the next record; None at the end."""
        self._advance()
        try:
            cells = next(self._csv)
        except StopIteration:
            return None
        except csv.Error as error:
            literal = self._delimiter == "\t" and not isinstance(error, _LongLineError)
            return self._literal() if literal else self._broken(error)
        if len(self._taken) > 1:
            if self._delimiter == "\t" and self._all_rows(self._taken[1:]):
                return self._literal()
            if self._width is not None and len(_without_surplus(cells)) > self._width:
                reason = f"has {len(cells)} values under {self._width} columns"
                return self._unreadable(
                    f"{reason}: {self._opened()} closes in the wrong place", closed=True
                )
        return self._decoded(cells)

    def next_regular(self, most: int) -> tuple[int, list[list[str]], bool]:
        """Return the next records up to the first one that is not exactly one line.

        This is several times as fast as `next`, which reads the record where this one stops.

        Args:
            most: How many records to return at most.

        Returns:
            Line of the first record; the values of each; and whether all values are known to be
            short and without control characters.
        """
        self._advance()
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
        return self._line + len(self._taken) + self._unread_lines

    @property
    def next_offset(self) -> int:
        """Byte of the file at which the next record begins."""
        return self._offset + sum(map(len, self._taken)) + self._unread_bytes

    def _advance(self) -> None:
        self._line, self._offset = self.next_line, self.next_offset
        self._taken.clear()
        self._unread_lines = self._unread_bytes = 0
        self._undecodable = False

    def _new_csv(self) -> "Iterator[list[str]]":
        return csv.reader(self._lines(), strict=True, delimiter=self._delimiter)

    def _lines(self) -> Iterator[str]:
        size_bytes = 0
        while raw := self._next_line():
            self._taken.append(raw)
            size_bytes = len(raw) if len(self._taken) == 1 else size_bytes + len(raw)
            if size_bytes > MAX_RECORD_BYTES:
                raise _OpenQuoteError
            if len(raw) >= MAX_LINE_BYTES:
                if len(self._taken) > 1:
                    # The line is read again as the first line of a record.
                    raise _OpenQuoteError
                self._skip_rest_of_line()
                raise _LongLineError(f"the line has more than {MAX_LINE_BYTES} bytes")
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
        # Count its bytes, but do not keep them.
        while not self._taken[-1].endswith(b"\n"):
            block = self._source.readline(MAX_LINE_BYTES)
            if not block:
                return
            self._offset += len(self._taken[-1])
            self._taken[-1] = block

    def _literal(self) -> Record:
        """Read the first line alone, with quotes as ordinary characters."""
        self._put_back()
        try:
            text = self._taken[0].decode()
        except UnicodeDecodeError:
            return Record(self._line, [], self._not_decoded(), self._shown())
        if self._offset == 0:
            text = text.removeprefix("\ufeff")
        return Record(self._line, literal_cells(text, self._delimiter))

    def _decoded(self, cells: list[str]) -> Record:
        if self._undecodable:
            return Record(self._line, [], self._not_decoded(), self._shown())
        return Record(self._line, cells)

    def _broken(self, error: csv.Error) -> Record:
        if isinstance(error, _OpenQuoteError) or str(error) == "unexpected end of data":
            return self._unreadable(f"{self._opened()} is never closed", closed=False)
        if str(error).endswith(_UNDOUBLED):
            reason = "a quote inside a quoted value is not doubled"
            if len(self._taken) > 1:
                reason = f"{self._opened()} closes in the wrong place, on line {self.next_line - 1}"
            return self._unreadable(reason, closed=True)
        self._put_back()
        reason = _LONE_RETURN if str(error).startswith("new-line") else str(error)
        return Record(self._line, [], reason, self._shown())

    def _unreadable(self, reason: str, *, closed: bool) -> Record:
        """Reject a record, and skip the lines that may be text of its value."""
        spanned = self._put_back()
        # With an even number of quotes, none is open at the end of the line.
        is_one_line = closed and not spanned and self._taken[0].count(b'"') % 2 == 0
        if not is_one_line and not (
            closed and spanned and self._all_rows(list(self._pending)[:spanned])
        ):
            self._skip_text(spanned if closed else 0)
        if self._unread_lines:
            first, last = self._line + 1, self._line + self._unread_lines
            lines = f"line {first}" if first == last else f"lines {first} to {last}"
            reason += f"; {lines} may be text of that value, and nothing in there was read"
        return Record(self._line, [], f"{reason}; {_CLOSE_IT}", self._shown())

    def _put_back(self) -> int:
        """Put the lines after the first one back; return their number."""
        rest = self._taken[1:]
        self._pending.extendleft(reversed(rest))
        del self._taken[1:]
        self._csv = self._new_csv()
        return len(rest)

    def _skip_text(self, count: int) -> None:
        """Skip `count` lines, and more until the lines prove to be rows."""
        window: list[bytes] = []
        while len(window) < PROOF_LINES and (raw := self._next_line()):
            window.append(raw)
            if count > 0 or not self._all_rows([raw]):
                self._unread_lines += len(window)
                self._unread_bytes += sum(map(len, window))
                window.clear()
                while len(raw) >= MAX_LINE_BYTES and not raw.endswith(b"\n"):
                    raw = self._source.readline(MAX_LINE_BYTES)
                    self._unread_bytes += len(raw)
            count -= 1
        self._pending.extendleft(reversed(window))

    def _all_rows(self, lines: Sequence[bytes]) -> bool:
        return all(map(self._is_whole_row, lines))

    def _is_whole_row(self, raw: bytes) -> bool:
        try:
            text = raw.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            return False
        if not text:
            return True
        if self._width is None or len(raw) >= MAX_LINE_BYTES:
            return False
        if not is_regular(text, self._delimiter):
            return False
        try:
            cells = next(csv.reader([text], delimiter=self._delimiter))
        except csv.Error:
            return False
        return len(cells) == self._width and self._is_row(cells)

    def _opened(self) -> str:
        line = self._line + opening_line(self._taken)
        return f"a quote that opens on line {line}"

    def _not_decoded(self) -> str:
        return f"is not {self._encoding}; save the file as UTF-8, or set its `encoding`"

    def _shown(self) -> str:
        return self._taken[0][:1000].decode(errors="replace") if self._taken else ""


def _without_surplus(cells: list[str]) -> list[str]:
    while cells and not cells[-1].strip():
        cells = cells[:-1]
    return cells
