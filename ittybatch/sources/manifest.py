"""The source that is a list of items: CSV, TSV, JSON Lines, Parquet or Excel."""

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ittybatch.sources.cells import as_cell
from ittybatch.sources.columns import MAX_COLUMNS, Columns, check_known
from ittybatch.sources.cursor import read_cursor, write_cursor
from ittybatch.sources.errors import SourceError, without_secrets
from ittybatch.sources.form import as_form
from ittybatch.sources.gathering import Gathering
from ittybatch.sources.layers import UTF_8, Packing
from ittybatch.sources.lines import Lines, Writing, open_lines
from ittybatch.sources.manifest_formats import Format, format_of
from ittybatch.sources.objects import MAX_LINE_BYTES, Objects
from ittybatch.sources.page import Misread, Page
from ittybatch.sources.records import Records
from ittybatch.sources.rows import Rows
from ittybatch.sources.s3 import SCHEME, split_uri
from ittybatch.sources.spool import spooled
from ittybatch.sources.tables import ParquetTable
from ittybatch.sources.workbook import as_value, workbook_rows

DEFAULT_PAGE_SIZE = 1000
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_MAX_NAME_CHARACTERS = 200
# A line that long is not a bad row any more, but another kind of file, or one made to burst.
_MAX_SKIPPED_BYTES = 1024 * 1024 * 1024


class ManifestSource(BaseModel):
    """Rows of a file whose column `input` names the items.

    Other columns that are read: `kind` with `options` (JSON) for one job of exactly that,
    `profile` for another profile, `fingerprint` or `etag`, `size_bytes`, and `metadata.NAME`.
    """

    model_config = ConfigDict(
        extra="forbid", title="Manifest", frozen=True, json_schema_extra=as_form
    )

    type: Literal["manifest"] = Field(
        "manifest", title="Type", description="A file that lists the items."
    )
    uri: str = Field(
        title="Manifest",
        description="CSV, TSV, JSON Lines, Parquet or Excel file with a column `input`: an "
        "`s3://` or `https://` URI, or a path on the machine that runs the batch. Text may be "
        "packed with gzip or zstd.",
        examples=["s3://media/manifests/tonight.csv"],
        min_length=1,
        max_length=4096,
    )

    # The form finds the tab of a value by the names in it: with `type` and `uri` alone it would
    # take a manifest for a bucket.
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet", "excel"] = Field(
        "auto", title="Format", description="`auto` goes by the name's suffix."
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        title="Columns",
        description="Titles of columns that have other names in this file, by the known name: "
        '`{"input": "file_path", "metadata.title": "Title"}`.',
        max_length=MAX_COLUMNS,
    )
    encoding: str = Field(
        UTF_8,
        title="Encoding",
        description="Of text, such as `utf-8`, `utf-16` or `cp1252`. UTF-16 is also known by its "
        "byte order mark.",
        max_length=40,
    )
    delimiter: str | None = Field(
        None,
        title="Delimiter",
        description="The character between values of CSV, where it is no comma.",
        max_length=1,
    )
    sheet: str | None = Field(
        None,
        title="Sheet",
        description="Of an Excel workbook; the first one if empty.",
        max_length=_MAX_NAME_CHARACTERS,
    )

    @field_validator("uri")
    @classmethod
    def _readable(cls, uri: str) -> str:
        stripped = uri.strip()
        if stripped.startswith(SCHEME):
            if not split_uri(stripped)[1]:
                raise ValueError(f"{uri!r} names a bucket; name the object of the manifest")
        elif "://" in stripped:
            parts = urlsplit(stripped)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError(f"{uri!r} is neither s3://, https:// nor a path")
        if not stripped.isprintable():
            raise ValueError(f"{uri!r} holds a character that cannot be seen")
        return stripped

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        known = {check_known(name): title.strip() for name, title in columns.items()}
        if "" in known.values():
            raise ValueError("a title is empty; leave the column out instead")
        if len(set(known.values())) < len(columns):
            raise ValueError("a column is given twice")
        return known

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        try:
            found = codecs.lookup(encoding.strip())
            "a".encode(found.name)
            codecs.getincrementaldecoder(found.name)
        except (LookupError, ValueError, TypeError) as error:
            raise ValueError(f"{encoding!r} is no encoding; use such as utf-8 or cp1252") from error
        return UTF_8 if found.name == "utf-8-sig" else found.name

    @field_validator("delimiter")
    @classmethod
    def _usable_delimiter(cls, delimiter: str | None) -> str | None:
        if delimiter in {'"', "\n", "\r", " ", "\x00"}:
            raise ValueError(f"{delimiter!r} cannot stand between values; use such as ; or |")
        return delimiter or None

    @model_validator(mode="after")
    def _known_format(self) -> "ManifestSource":
        form = self.resolved_format
        if self.delimiter is not None and form not in _DELIMITERS:
            raise ValueError(f"`delimiter` is for CSV; the format is {form}")
        if self.sheet is not None and form != "excel":
            raise ValueError(f"`sheet` is for Excel; the format is {form}")
        return self

    @property
    def resolved_format(self) -> Format:
        """The format, by the name's suffix where it is not given: CSV if that says nothing."""
        return (format_of(self.uri) or "csv") if self.format == "auto" else self.format


@dataclass
class _Place:
    """Where in a manifest a page ends.

    Args:
        identity: What the manifest was.
        header: Titles of its columns, where they stand on its first line.
        line: Line, or row, of the next one.
        offset: Byte at which that begins, of the text in UTF-8.
        packing: How the file was packed.
        encoding: What its text was written in; None before it was opened, or where it is none.
    """

    identity: str | None = None
    header: list[str] | None = None
    line: int = 1
    offset: int = 0
    packing: Packing | None = None
    encoding: str | None = None

    @classmethod
    def from_cursor(cls, source: ManifestSource, cursor: str | None) -> "_Place":
        if cursor is None:
            return cls()
        place: dict[str, Any] = read_cursor(cursor, source.type, without_secrets(source.uri))
        try:
            return cls(**place)
        except TypeError as error:
            raise SourceError(
                f"{without_secrets(source.uri)} cannot be read on from the saved place.",
                remedy="Start a new batch of the source.",
            ) from error


def read_manifest(
    source: ManifestSource, *, cursor: str | None = None, page_size: int = DEFAULT_PAGE_SIZE
) -> Iterator[Page]:
    """Read a manifest in pages of rows.

    Args:
        source: The manifest.
        cursor: Of the last page that was dealt with.
        page_size: Rows a page, good and bad.

    Raises:
        SourceError: It cannot be read, has no column `input`, or is no longer the file that
            the cursor was made from.
    """
    place = _Place.from_cursor(source, cursor)
    match source.resolved_format:
        case "parquet":
            return _read_parquet(source, place, page_size)
        case "excel":
            return _read_excel(source, place, page_size)
        case "jsonl":
            return _read_objects(source, place, page_size)
        case form:
            return _read_records(source, place, page_size, source.delimiter or _DELIMITERS[form])


def _read_records(
    source: ManifestSource, place: _Place, page_size: int, delimiter: str
) -> Iterator[Page]:
    lines = _open(source, place)
    with lines.stream as stream:
        encoding = lines.writing.encoding
        records = Records(stream, place.line, place.offset, delimiter=delimiter, encoding=encoding)
        header = place.header if place.header is not None else _header(source, records)
        rows = Rows(_columns(source, header))
        gathering = Gathering(page_size)
        while True:
            _gather(records, rows, gathering)
            if not gathering.any:
                return
            at = _text_place(lines, records.next_line, records.next_offset, header)
            yield gathering.page(_cursor(source, at))


def _gather(records: Records, rows: Rows, gathering: Gathering) -> None:
    while (room := gathering.room) > 0:
        line, regular, plain = records.next_regular(room)
        for number, cells in enumerate(regular, line):
            gathering.add(rows.item_of(number, cells, plain=plain) if cells else None)
        if regular:
            continue
        record = records.next()
        if record is None:
            return
        empty = not record.cells and record.problem is None
        found = None if empty else rows.read(record)
        gathering.add(found)
        if isinstance(found, Misread) and records.spans_lines:
            # A quote left open on the first line has swallowed others, which may be sound rows.
            records.keep_first_line_only()


def _read_objects(source: ManifestSource, place: _Place, page_size: int) -> Iterator[Page]:
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
                return
            at = _text_place(lines, line, offset, None)
            yield gathering.page(_cursor(source, at))


def _rest_of_line(source: ManifestSource, stream: io.BufferedReader) -> int:
    size_bytes = 0
    while (block := stream.readline(MAX_LINE_BYTES)) and not block.endswith(b"\n"):
        size_bytes += len(block)
        if size_bytes > _MAX_SKIPPED_BYTES:
            raise _unusable(source, f"a line has more than {_MAX_SKIPPED_BYTES} bytes")
    return size_bytes + len(block)


def _read_parquet(source: ManifestSource, place: _Place, page_size: int) -> Iterator[Page]:
    with spooled(source.uri, place.identity) as (file, identity):
        try:
            table = ParquetTable(file)
            columns = _columns(source, table.titles)
            done = place.line - 1
            cells = (list(map(as_cell, row)) for row in table.rows(done, columns.read))
            yield from _pages_of_rows(
                source, identity, Rows(columns), enumerate(cells, done + 1), page_size
            )
        except ValueError as error:
            raise _unusable(source, str(error)) from error


def _read_excel(source: ManifestSource, place: _Place, page_size: int) -> Iterator[Page]:
    with spooled(source.uri, place.identity) as (file, identity):
        try:
            rows = enumerate(workbook_rows(file, source.sheet), 1)
            titles = [as_cell(value) for value in next(rows, (1, ()))[1]]
            while titles and not titles[-1]:
                titles.pop()
            columns = _columns(source, titles)
            cells = (
                (number, _trimmed([as_cell(as_value(value)) for value in row], len(titles)))
                for number, row in rows
                if number >= place.line
            )
            yield from _pages_of_rows(source, identity, Rows(columns), cells, page_size)
        except ValueError as error:
            raise _unusable(source, str(error)) from error


def _pages_of_rows(
    source: ManifestSource,
    identity: str,
    rows: Rows,
    cells: Iterator[tuple[int, list[str]]],
    page_size: int,
) -> Iterator[Page]:
    gathering = Gathering(page_size)
    number = 0
    for number, row in cells:
        gathering.add(rows.item_of(number, row) if any(row) else None)
        if gathering.room == 0:
            yield gathering.page(_cursor(source, _Place(identity, line=number + 1)))
    if gathering.any:
        yield gathering.page(_cursor(source, _Place(identity, line=number + 1)))


def _trimmed(cells: list[str], width: int) -> list[str]:
    # A sheet is as wide as its widest row; cells beyond the titles are empty in the others.
    return cells[:width] if not any(cells[width:]) else cells


def _open(source: ManifestSource, place: _Place) -> Lines:
    writing = Writing(place.packing, place.encoding) if place.encoding else None
    return open_lines(
        source.uri, source.encoding, offset=place.offset, identity=place.identity, writing=writing
    )


def _text_place(lines: Lines, line: int, offset: int, header: list[str] | None) -> _Place:
    writing = lines.writing
    return _Place(lines.identity, header, line, offset, writing.packing, writing.encoding)


def _cursor(source: ManifestSource, place: _Place) -> str:
    # A signed URL is signed anew for a later process, and is nobody's business meanwhile.
    return write_cursor(source.type, without_secrets(source.uri), vars(place))


def _header(source: ManifestSource, records: Records) -> list[str]:
    record = records.next()
    if record is None:
        raise _unusable(source, "it is empty")
    if record.problem is not None:
        raise _unusable(source, f"its first line cannot be read: {record.problem}")
    return record.cells


def _columns(source: ManifestSource, header: list[str]) -> Columns:
    try:
        return Columns.from_header(header, source.columns)
    except ValueError as error:
        raise _unusable(source, str(error)) from error


_REMEDIES: dict[Format, str] = {
    "csv": "It must be CSV whose first line names its columns, `input` among them.",
    "tsv": "It must be TSV whose first line names its columns, `input` among them.",
    "jsonl": "It must have one JSON object a line, each with an `input`.",
    "parquet": "It must be a Parquet file with a column `input`.",
    "excel": "It must be an .xlsx workbook whose first row names its columns, `input` among them.",
}


def _unusable(source: ManifestSource, why: str) -> SourceError:
    return SourceError(
        f"The manifest {without_secrets(source.uri)} cannot be used: {why}.",
        remedy=f"{_REMEDIES[source.resolved_format]} `columns` gives other titles, `format` "
        "another format.",
    )
