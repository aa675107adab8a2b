"""Finds the titles of a CSV file: their line, and the delimiter."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ittybatch.sources.columns import (
    MAX_LINES_ABOVE,
    Columns,
    Likeness,
    holds_address,
    is_more_alike,
    likeness,
)
from ittybatch.sources.manifest import DELIMITERS, ManifestSource
from ittybatch.sources.records import MAX_LINE_BYTES, Records

_MAX_LINES = 200
_BOM = b"\xef\xbb\xbf"
# Other programs write this line for Excel, which reads the delimiter from it.
_SEPARATOR = re.compile(rb'"?sep=([^\r\n])"?\s*')
_CANDIDATES = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class Header:
    """The titles of a file.

    Args:
        titles: The titles.
        delimiter: The character between values.
        line: The line after the titles.
        offset: Byte at which that line begins.
        ahead: Lines after the titles that were already read.
        above: How many lines above the titles are not empty.
    """

    titles: list[str]
    delimiter: str
    line: int
    offset: int
    ahead: list[bytes]
    above: int = 0


def find_header(source: ManifestSource, stream: io.BufferedReader, encoding: str) -> Header:
    """Find the titles at the beginning of a file.

    Args:
        source: The manifest.
        stream: Its text in UTF-8.
        encoding: The file's encoding, for messages.

    Raises:
        ValueError: There are no titles, or no `input` among them; the message names the titles.
    """
    lines = list(_first_lines(stream, source.header_row or 0))
    if not lines:
        raise ValueError("it is empty")
    separator = _SEPARATOR.fullmatch(lines[0].removeprefix(_BOM).rstrip(b"\r\n"))
    first = 1 if separator else 0
    usual = DELIMITERS[source.resolved_format]
    if source.delimiter is not None:
        candidates: tuple[str, ...] = (source.delimiter,)
    elif separator:
        candidates = (separator[1].decode("latin-1"),)
    else:
        candidates = (usual, *(mark for mark in _CANDIDATES if usual == "," and mark != usual))
    if source.header_row == 0:
        return _numbered(source, lines, first, candidates[0], encoding)
    best: tuple[Likeness, Header] | None = None
    for delimiter in candidates:
        found = _search(source, lines, first, delimiter, encoding)
        if found and (best is None or found[0] > best[0]):
            best = found
    if best is not None:
        return best[1]
    raise ValueError(_what_is_wrong(source, lines[first:], candidates[0], encoding))


def _first_lines(stream: io.BufferedReader, header_row: int) -> Iterator[bytes]:
    filled = 0
    for number in range(1, max(_MAX_LINES, header_row) + 1):
        raw = stream.readline(MAX_LINE_BYTES)
        if not raw:
            return
        yield raw
        filled += bool(raw.strip())
        if len(raw) >= MAX_LINE_BYTES or (filled >= MAX_LINES_ABOVE and number >= header_row):
            return


def _records(lines: list[bytes], first: int, delimiter: str, encoding: str) -> Records:
    offset = sum(map(len, lines[:first]))
    content = io.BytesIO(b"".join(lines[first:]))
    return Records(content, first + 1, offset, delimiter=delimiter, encoding=encoding)


def _search(
    source: ManifestSource, lines: list[bytes], first: int, delimiter: str, encoding: str
) -> tuple[Likeness, Header] | None:
    """Find the titles with a delimiter: the most alike of the first records, or the one named."""
    records = _records(lines, first, delimiter, encoding)
    above = 0
    best: tuple[Likeness, Header] | None = None
    for record in records:
        if source.header_row is not None:
            like = Likeness.EXACT if record.line == source.header_row else Likeness.NOT
        elif record.problem is None:
            like = likeness(record.cells, source.columns)
        else:
            like = Likeness.NOT
        if like and (best is None or is_more_alike(like, record.cells, best[0], best[1].titles)):
            if record.problem is not None:
                raise ValueError(f"its line {record.line} cannot be read: {record.problem}")
            end = records.next_line - 1
            best = (
                like,
                Header(record.cells, delimiter, end + 1, records.next_offset, lines[end:], above),
            )
            if like is Likeness.EXACT:
                break
        above += any(cell.strip() for cell in record.cells) or record.problem is not None
    return best


def _numbered(
    source: ManifestSource, lines: list[bytes], first: int, delimiter: str, encoding: str
) -> Header:
    record = next(
        (each for each in _records(lines, first, delimiter, encoding) if each.cells), None
    )
    if record is None:
        raise ValueError("it has no rows")
    titles = [str(number) for number in range(1, len(record.cells) + 1)]
    offset = sum(map(len, lines[:first]))
    if not source.columns:
        titles[0] = "input"
    return Header(titles, delimiter, first + 1, offset, lines[first:])


def _what_is_wrong(
    source: ManifestSource, lines: list[bytes], delimiter: str, encoding: str
) -> str:
    """Describe the first line of a file without a usable header."""
    if source.header_row:
        return f"it has no record that begins on line {source.header_row}"
    for record in _records(lines, 0, delimiter, encoding):
        if record.problem is not None:
            return f"its first line cannot be read: {record.problem}"
        if not any(cell.strip() for cell in record.cells):
            continue
        if holds_address(record.cells):
            return (
                "its first line holds an address, not titles; put a line of titles above it, "
                "or set `header_row` to 0 (--header-row 0)"
            )
        try:
            Columns.from_header(record.cells, source.columns)
        except ValueError as error:
            return str(error)
    return "it has no titles, so it has no column `input`"
