"""Reads a manifest in pages, whatever its format."""

import io
from collections.abc import Iterator

from ittybatch.sources.columns import Columns
from ittybatch.sources.header import find_header
from ittybatch.sources.json_lines import MAX_LINE_BYTES, JsonLines
from ittybatch.sources.manifest import DELIMITERS, ManifestSource, Position, unusable
from ittybatch.sources.page import Page, PageBuilder, refuse_unreadable
from ittybatch.sources.records import Records
from ittybatch.sources.rows import Rows
from ittybatch.sources.text import Encoding, Text, open_text

# A longer line is not a bad row: the file is of another kind, or an attack.
_MAX_SKIPPED_BYTES = 1024 * 1024 * 1024


def read_manifest(source: ManifestSource, *, cursor: str | None, page_size: int) -> Iterator[Page]:
    """Read a manifest in pages of rows.

    Args:
        source: The manifest.
        cursor: Cursor of the last committed page; None to begin at the beginning.
        page_size: Items and rejects in a page.

    Raises:
        SourceError: The manifest cannot be read, has no column `input` or not one usable row, or
            has changed since the cursor was made.
    """
    position = Position.from_cursor(source, cursor)
    pages = _pages(source, position, page_size)
    if cursor is not None:
        # There is a cursor only after a row was read.
        return pages
    return refuse_unreadable(pages, lambda why: unusable(source, why))


def _pages(source: ManifestSource, position: Position, page_size: int) -> Iterator[Page]:
    match source.resolved_format:
        case "parquet":
            # Only these formats need pyarrow.parquet and openpyxl, which are slow to import.
            from ittybatch.sources.parquet import read_parquet  # noqa: PLC0415

            return read_parquet(source, position, page_size)
        case "excel":
            from ittybatch.sources.excel import read_excel  # noqa: PLC0415

            return read_excel(source, position, page_size)
        case "jsonl":
            return _read_json_lines(source, position, page_size)
        case _:
            return _read_csv(source, position, page_size)


def _read_csv(source: ManifestSource, position: Position, page_size: int) -> Iterator[Page]:
    text = _open(source, position)
    with text.stream as stream:
        encoding = text.encoding.encoding
        builder = PageBuilder(page_size)
        if position.header is None:
            try:
                found = find_header(source, stream, encoding)
            except ValueError as error:
                raise unusable(source, str(error)) from error
            builder.filter("line above the titles", found.above)
            header, delimiter = found.titles, found.delimiter
            line, offset, ahead = found.line, found.offset, found.ahead
        else:
            header, line, offset, ahead = position.header, position.line, position.offset, []
            usual = source.delimiter or DELIMITERS[source.resolved_format]
            delimiter = position.delimiter or usual
        try:
            rows = Rows(Columns.from_header(header, source.columns))
        except ValueError as error:
            raise unusable(source, str(error)) from error
        records = Records(stream, line, offset, delimiter=delimiter, encoding=encoding, ahead=ahead)
        records.expect(len(header), rows.is_row)
        while True:
            _fill(builder, records, rows)
            if not builder:
                return
            after = _position(text, records.next_line, records.next_offset)
            after.header, after.delimiter = header, delimiter
            yield builder.build(after.cursor(source))


def _fill(builder: PageBuilder, records: Records, rows: Rows) -> None:
    while (free := builder.free) > 0:
        line, regular, plain = records.next_regular(free)
        for number, cells in enumerate(regular, line):
            builder.add(rows.item_of(number, cells, plain=plain))
        if regular:
            continue
        record = records.next()
        if record is None:
            return
        builder.add(rows.read(record))


def _read_json_lines(source: ManifestSource, position: Position, page_size: int) -> Iterator[Page]:
    text = _open(source, position)
    with text.stream as stream:
        lines = JsonLines(source.columns, text.encoding.encoding)
        line, offset = position.line, position.offset
        builder = PageBuilder(page_size)
        while True:
            while builder.free > 0 and (content := stream.readline(MAX_LINE_BYTES)):
                builder.add(lines.read(line, content))
                offset += len(content)
                if len(content) == MAX_LINE_BYTES and not content.endswith(b"\n"):
                    offset += _skip_rest_of_line(source, stream)
                line += 1
            if not builder:
                if line == 1:
                    raise unusable(source, "it is empty")
                return
            yield builder.build(_position(text, line, offset).cursor(source))


def _skip_rest_of_line(source: ManifestSource, stream: io.BufferedReader) -> int:
    size_bytes = 0
    while (block := stream.readline(MAX_LINE_BYTES)) and not block.endswith(b"\n"):
        size_bytes += len(block)
        if size_bytes > _MAX_SKIPPED_BYTES:
            raise unusable(source, f"a line has more than {_MAX_SKIPPED_BYTES} bytes")
    return size_bytes + len(block)


def _open(source: ManifestSource, position: Position) -> Text:
    known = position.encoding
    return open_text(
        source.uri,
        source.encoding,
        offset=position.offset,
        identity=position.identity,
        encoding=Encoding(position.packing, known, position.cr) if known else None,
        request_payer=source.request_payer,
    )


def _position(text: Text, line: int, offset: int) -> Position:
    encoding = text.encoding
    return Position(
        identity=text.identity,
        line=line,
        offset=offset,
        packing=encoding.packing,
        encoding=encoding.encoding,
        cr=encoding.cr,
    )
