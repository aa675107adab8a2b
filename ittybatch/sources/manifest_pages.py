"""Reads a manifest page by page, whatever its format."""

import io
from collections.abc import Iterator

from ittybatch.sources.columns import Columns
from ittybatch.sources.gathering import Gathering
from ittybatch.sources.header import find_header
from ittybatch.sources.lines import Lines, Writing, open_lines
from ittybatch.sources.manifest import ManifestSource
from ittybatch.sources.manifest_formats import DELIMITERS
from ittybatch.sources.manifest_place import Place, unusable
from ittybatch.sources.objects import MAX_LINE_BYTES, Objects
from ittybatch.sources.page import Page
from ittybatch.sources.readable import refuse_unreadable
from ittybatch.sources.records import Records
from ittybatch.sources.rows import Rows
from ittybatch.sources.table_pages import read_excel, read_parquet

DEFAULT_PAGE_SIZE = 1000
# A line that long is not a bad row any more, but another kind of file, or one made to burst.
_MAX_SKIPPED_BYTES = 1024 * 1024 * 1024


def read_manifest(
    source: ManifestSource, *, cursor: str | None = None, page_size: int = DEFAULT_PAGE_SIZE
) -> Iterator[Page]:
    """Read a manifest in pages of rows.

    Args:
        source: The manifest.
        cursor: Of the last page that was dealt with.
        page_size: Rows a page, good and bad.

    Raises:
        SourceError: It cannot be read, has no column `input` or not one readable row, or is no
            longer the file that the cursor was made from.
    """
    place = Place.from_cursor(source, cursor)
    pages = _pages(source, place, page_size)
    if cursor is not None:
        # A cursor is only given once a row was read.
        return pages
    return refuse_unreadable(pages, lambda why: unusable(source, why))


def _pages(source: ManifestSource, place: Place, page_size: int) -> Iterator[Page]:
    match source.resolved_format:
        case "parquet":
            return read_parquet(source, place, page_size)
        case "excel":
            return read_excel(source, place, page_size)
        case "jsonl":
            return _read_objects(source, place, page_size)
        case _:
            return _read_records(source, place, page_size)


def _read_records(source: ManifestSource, place: Place, page_size: int) -> Iterator[Page]:
    lines = _open(source, place)
    with lines.stream as stream:
        encoding = lines.writing.encoding
        gathering = Gathering(page_size)
        if place.header is None:
            try:
                found = find_header(source, stream, encoding)
            except ValueError as error:
                raise unusable(source, str(error)) from error
            gathering.leave_out("line above the titles", found.above)
            header, delimiter = found.titles, found.delimiter
            line, offset, ahead = found.line, found.offset, found.ahead
        else:
            header, line, offset, ahead = place.header, place.line, place.offset, []
            delimiter = place.delimiter or source.delimiter or DELIMITERS[source.resolved_format]
        try:
            rows = Rows(Columns.from_header(header, source.columns))
        except ValueError as error:
            raise unusable(source, str(error)) from error
        records = Records(stream, line, offset, delimiter=delimiter, encoding=encoding, ahead=ahead)
        records.expect(len(header), rows.is_row)
        while True:
            _gather(records, rows, gathering)
            if not gathering.any:
                return
            at = _text_place(lines, records.next_line, records.next_offset)
            at.header, at.delimiter = header, delimiter
            yield gathering.page(at.cursor(source))


def _gather(records: Records, rows: Rows, gathering: Gathering) -> None:
    while (room := gathering.room) > 0:
        line, regular, plain = records.next_regular(room)
        for number, cells in enumerate(regular, line):
            gathering.add(rows.item_of(number, cells, plain=plain))
        if regular:
            continue
        record = records.next()
        if record is None:
            return
        gathering.add(rows.read(record))


def _read_objects(source: ManifestSource, place: Place, page_size: int) -> Iterator[Page]:
    lines = _open(source, place)
    with lines.stream as stream:
        objects = Objects(source.columns, lines.writing.encoding)
        line, offset = place.line, place.offset
        gathering = Gathering(page_size)
        while True:
            while gathering.room > 0 and (content := stream.readline(MAX_LINE_BYTES)):
                gathering.add(objects.read(line, content))
                offset += len(content)
                if len(content) == MAX_LINE_BYTES and not content.endswith(b"\n"):
                    offset += _rest_of_line(source, stream)
                line += 1
            if not gathering.any:
                if line == 1:
                    raise unusable(source, "it is empty")
                return
            yield gathering.page(_text_place(lines, line, offset).cursor(source))


def _rest_of_line(source: ManifestSource, stream: io.BufferedReader) -> int:
    size_bytes = 0
    while (block := stream.readline(MAX_LINE_BYTES)) and not block.endswith(b"\n"):
        size_bytes += len(block)
        if size_bytes > _MAX_SKIPPED_BYTES:
            raise unusable(source, f"a line has more than {_MAX_SKIPPED_BYTES} bytes")
    return size_bytes + len(block)


def _open(source: ManifestSource, place: Place) -> Lines:
    writing = Writing(place.packing, place.encoding, place.cr) if place.encoding else None
    return open_lines(
        source.uri, source.encoding, offset=place.offset, identity=place.identity, writing=writing
    )


def _text_place(lines: Lines, line: int, offset: int) -> Place:
    writing = lines.writing
    return Place(
        identity=lines.identity,
        line=line,
        offset=offset,
        packing=writing.packing,
        encoding=writing.encoding,
        cr=writing.cr,
    )
