"""The source that is a list of items in a CSV file."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ittybatch.profiles import Item
from ittybatch.sources.columns import Columns
from ittybatch.sources.cursor import read_cursor, write_cursor
from ittybatch.sources.errors import SourceError, without_secrets
from ittybatch.sources.form import as_form
from ittybatch.sources.origins import origin_of
from ittybatch.sources.page import Misread, Page, Reject
from ittybatch.sources.records import Records
from ittybatch.sources.rows import Rows
from ittybatch.sources.s3 import SCHEME, split_uri
from ittybatch.sources.stream import ManifestStream

DEFAULT_PAGE_SIZE = 1000
_BUFFER_BYTES = 1024 * 1024


class ManifestSource(BaseModel):
    """Rows of a CSV file, in UTF-8, whose column `input` names the items.

    Other columns that are read: `kind` with `options` (JSON) for one job of exactly that,
    `profile` for another profile, `fingerprint` or `etag`, `size_bytes`, and `metadata.NAME`.
    """

    model_config = ConfigDict(
        extra="forbid", title="CSV manifest", frozen=True, json_schema_extra=as_form
    )

    type: Literal["manifest"] = Field(
        "manifest", title="Type", description="A CSV file that lists the items."
    )
    uri: str = Field(
        title="Manifest",
        description="CSV file with a column `input`: an `s3://` or `https://` URI, or a path on "
        "the machine that runs the batch.",
        examples=["s3://media/manifests/tonight.csv"],
        min_length=1,
        max_length=4096,
    )

    # The form finds the tab of a value by the names in it: with `type` and `uri` alone it would
    # take a manifest for a bucket.
    format: Literal["csv"] = Field(
        "csv", title="Format", description="Separated by commas, with a line of titles."
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


@dataclass
class _Place:
    """Where in a manifest a page ends."""

    identity: str | None = None
    header: list[str] | None = None
    line: int = 1
    offset: int = 0

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
    stream = ManifestStream(source.uri, origin_of(source.uri), place.offset, place.identity)
    with io.BufferedReader(stream, _BUFFER_BYTES) as lines:
        records = Records(lines, place.line, place.offset)
        header = place.header if place.header is not None else _header(source, records)
        rows = Rows(_columns(source, header))
        while (page := _page(records, rows, page_size)) is not None:
            items, rejects, filtered = page
            at = _Place(stream.identity, header, records.next_line, records.next_offset)
            yield Page(items, rejects, filtered, _cursor(source, at))


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
        return Columns.from_header(header)
    except ValueError as error:
        raise _unusable(source, str(error)) from error


def _page(
    records: Records, rows: Rows, page_size: int
) -> tuple[list[Item], list[Reject], dict[str, int]] | None:
    items: list[Item] = []
    rejects: list[Reject] = []
    empty = 0
    while (room := page_size - len(items) - len(rejects)) > 0:
        line, regular, plain = records.next_regular(room)
        for number, cells in enumerate(regular, line):
            found = rows.item_of(number, cells, plain=plain) if cells else None
            if found is None:
                empty += 1
            elif isinstance(found, Item):
                items.append(found)
            else:
                rejects.append(found)
        if regular:
            continue
        record = records.next()
        if record is None:
            break
        if not record.cells and record.problem is None:
            empty += 1
            continue
        found = rows.read(record)
        if isinstance(found, Item):
            items.append(found)
        else:
            rejects.append(found)
            if isinstance(found, Misread) and records.spans_lines:
                # What is wrong began on the first line; the others may be sound rows.
                records.keep_first_line_only()
    if not items and not rejects and not empty:
        return None
    return items, rejects, {"empty line": empty} if empty else {}


def _unusable(source: ManifestSource, why: str) -> SourceError:
    return SourceError(
        f"The manifest {without_secrets(source.uri)} cannot be used: {why}.",
        remedy="It must be CSV in UTF-8 whose first line names its columns, `input` among them.",
    )
