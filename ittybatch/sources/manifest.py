"""The source that is a list of items: CSV, TSV, JSON Lines, Parquet or Excel."""

import codecs
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ittybatch.ittybit.redaction import without_secrets
from ittybatch.sources.columns import MAX_COLUMNS, check_known, folded
from ittybatch.sources.form import as_form
from ittybatch.sources.page import SourceError, read_cursor, unusable_cursor, write_cursor
from ittybatch.sources.s3 import SCHEME, split_uri
from ittybatch.sources.stream import Packing
from ittybatch.sources.text import UTF_8

Format = Literal["csv", "tsv", "jsonl", "parquet", "excel"]

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "excel",
    ".xlsm": "excel",
}
_PACKED = (".gz", ".gzip", ".zst", ".zstd")
_TEXT: frozenset[Format] = frozenset({"csv", "tsv", "jsonl"})
DELIMITERS: dict[Format, str] = {"csv": ",", "tsv": "\t"}
_UNREADABLE = {
    (".xls", ".xlsb", ".ods", ".numbers"): "this kind of sheet is not read; save it as .xlsx",
    (".xz", ".bz2", ".zip", ".7z", ".rar", ".tar"): "this kind of archive is not read; unpack it, "
    "or pack it with gzip (.csv.gz) or zstd (.csv.zst)",
    (".json",): "JSON is read with one object a line; write it so, for instance with "
    "`jq -c '.[]' list.json > list.jsonl`",
    (".avro", ".orc", ".feather", ".arrow"): "this format is not read; write Parquet",
}
_MAX_NAME_CHARACTERS = 200
_MAX_HEADER_ROW = 10_000
_REMEDIES: dict[Format, str] = {
    "csv": "It must be CSV with a line of titles, `input` among them.",
    "tsv": "It must be TSV with a line of titles, `input` among them.",
    "jsonl": "It must have one JSON object a line, each with an `input`.",
    "parquet": "It must be a Parquet file with a column `input`.",
    "excel": "It must be an .xlsx workbook with a row of titles, `input` among them.",
}


class ManifestSource(BaseModel):
    """Rows of a file whose column `input` names the items.

    Other columns that are read: `kind` with `options` (JSON) for one job of exactly that,
    `profile` for another profile, `fingerprint` or `etag`, `size_bytes`, and `metadata.NAME`.
    """

    model_config = ConfigDict(
        extra="forbid",
        title="Manifest",
        frozen=True,
        json_schema_extra=as_form,
        hide_input_in_errors=True,
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

    # Prefect's form chooses the tab whose field names match the value's. `type` and `uri` alone
    # would match a bucket.
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet", "excel"] = Field(
        "auto", title="Format", description="`auto` uses the suffix of the name."
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        title="Columns",
        description="Titles of known columns that have other names in this file, by known name: "
        '`{"input": "file_path", "metadata.title": "Title"}`.',
        max_length=MAX_COLUMNS,
    )
    encoding: str = Field(
        UTF_8,
        title="Encoding",
        description="Encoding of text, such as `utf-8`, `utf-16` or `cp1252`. UTF-16 and "
        "UTF-32 are recognised by their first bytes.",
        max_length=40,
    )
    delimiter: str | None = Field(
        None,
        title="Delimiter",
        description="The character between values of CSV. If empty, the header decides.",
        max_length=1,
    )
    sheet: str | None = Field(
        None,
        title="Sheet",
        description="Sheet of an Excel workbook; the first visible one if empty.",
        max_length=_MAX_NAME_CHARACTERS,
    )
    header_row: int | None = Field(
        None,
        title="Header row",
        description="Line of a CSV file, or row of a sheet, counted from 1. If empty, the line "
        "with the title `input`. 0: the file has no titles, and `columns` gives columns by "
        "number; the first one is the input.",
        ge=0,
        le=_MAX_HEADER_ROW,
    )
    hidden_rows: bool = Field(
        default=False,
        title="Read hidden rows",
        description="Also read the rows of an Excel workbook that are hidden or filtered out.",
    )

    request_payer: bool = Field(
        default=False,
        title="Requester pays",
        description="Agree to pay for reading the manifest from a Requester Pays bucket.",
    )

    @field_validator("uri")
    @classmethod
    def _readable(cls, uri: str) -> str:
        stripped = uri.strip()
        if stripped.startswith(SCHEME):
            if not split_uri(stripped)[1]:
                shown = without_secrets(stripped)
                raise ValueError(f"{shown!r} is a bucket; give the manifest's key, too")
        elif "://" in stripped:
            parts = urlsplit(stripped)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError(f"{without_secrets(uri)!r} is neither s3://, https:// nor a path")
            if parts.username is not None or parts.password is not None:
                raise ValueError(
                    "it holds a password, which would be kept and shown with the batch; use a "
                    "signed URL, or copy the file to a bucket or to the machine of the batch"
                )
        if not stripped.isprintable():
            raise ValueError(f"{without_secrets(uri)!r} has an invisible character")
        return stripped

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        known = {check_known(name): title.strip() for name, title in columns.items()}
        if "" in known.values():
            raise ValueError("a title is empty; leave the column out instead")
        if len(set(map(folded, known.values()))) < len(columns):
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
            raise ValueError(
                f"{encoding!r} is not an encoding; use utf-8 or cp1252, for example"
            ) from error
        return UTF_8 if found.name == "utf-8-sig" else found.name

    @field_validator("delimiter")
    @classmethod
    def _usable_delimiter(cls, delimiter: str | None) -> str | None:
        if delimiter in {'"', "\n", "\r", " ", "\x00"}:
            raise ValueError(f"{delimiter!r} cannot separate values; use ; or |, for example")
        return delimiter or None

    @model_validator(mode="after")
    def _known_format(self) -> "ManifestSource":
        form = self.resolved_format
        if self.delimiter is not None and form not in DELIMITERS:
            raise ValueError(f"`delimiter` is for CSV; the format is {form}")
        if self.sheet is not None and form != "excel":
            raise ValueError(f"`sheet` is for Excel; the format is {form}")
        if self.hidden_rows and form != "excel":
            raise ValueError(f"`hidden_rows` is for Excel; the format is {form}")
        if self.header_row is not None and form not in {*DELIMITERS, "excel"}:
            raise ValueError(f"`header_row` is for CSV and Excel; the format is {form}")
        if self.header_row == 0 and form == "excel":
            raise ValueError("`header_row` 0 is for CSV; give the sheet a row of titles")
        return self

    @property
    def resolved_format(self) -> Format:
        """The format; `auto` goes by the suffix, and is CSV for an unknown one."""
        return (format_of(self.uri) or "csv") if self.format == "auto" else self.format


@dataclass
class Position:
    """Where in a manifest a page ends; its fields are the cursor's.

    Args:
        identity: The manifest's identity, which changes when the manifest does.
        header: The titles of a CSV file.
        line: Line, or row, of the next record.
        offset: Byte of that line in the text in UTF-8.
        packing: `gzip` or `zstd`; None if it is not packed.
        encoding: Encoding of the text; None if the file is not open yet or is not text.
        delimiter: The character between values; None if it is not known yet.
        cr: Whether lines end with a carriage return alone.
    """

    identity: str | None = None
    header: list[str] | None = None
    line: int = 1
    offset: int = 0
    packing: Packing | None = None
    encoding: str | None = None
    delimiter: str | None = None
    cr: bool = False

    @classmethod
    def from_cursor(cls, source: ManifestSource, cursor: str | None) -> Self:
        """Read a position from a cursor; the beginning if it is None.

        Raises:
            SourceError: The cursor is damaged, or belongs to another source.
        """
        if cursor is None:
            return cls()
        place: dict[str, Any] = read_cursor(cursor, source.type, without_secrets(source.uri))
        try:
            return cls(**place)
        except TypeError as error:
            raise unusable_cursor(without_secrets(source.uri), "it is damaged") from error

    def cursor(self, source: ManifestSource) -> str:
        """Write the position as a cursor."""
        # A later process gets a URL with another signature, and a cursor must hold no secret.
        return write_cursor(source.type, without_secrets(source.uri), vars(self))


def unusable(source: ManifestSource, why: str) -> SourceError:
    """Make the error for a manifest that cannot be used as a whole."""
    return SourceError(
        f"The manifest {without_secrets(source.uri)} cannot be used: {why}.",
        remedy=f"{_REMEDIES[source.resolved_format]} `columns` (--column input=TITLE) gives other "
        "titles, `format` (--format) another format.",
    )


def unreadable_name(uri: str) -> str | None:
    """Say why a file with this suffix cannot be read, and what to do; None if it may be."""
    path = urlsplit(uri).path if "://" in uri else uri
    return next((why for ends, why in _UNREADABLE.items() if path.lower().endswith(ends)), None)


def format_of(uri: str) -> Format | None:
    """Return a manifest's format by its suffix; None if the suffix is unknown.

    Args:
        uri: Path, `s3://` or `https://` URI. Text may be packed: `.csv.gz`, `.jsonl.zst`.
    """
    # In an S3 key or a file name, a question mark does not begin a query.
    path = urlsplit(uri).path if uri.startswith(("http://", "https://")) else uri
    name = path.lower().rpartition("/")[2]
    packed = next((suffix for suffix in _PACKED if name.endswith(suffix)), "")
    stem = name.removesuffix(packed)
    found = next((form for suffix, form in _SUFFIXES.items() if stem.endswith(suffix)), None)
    return None if packed and found not in _TEXT else found
