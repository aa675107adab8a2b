"""The source that is a list of items: CSV, TSV, JSON Lines, Parquet or Excel."""

import codecs
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ittybatch.sources.columns import MAX_COLUMNS, check_known, folded
from ittybatch.sources.errors import without_secrets
from ittybatch.sources.form import as_form
from ittybatch.sources.layers import UTF_8
from ittybatch.sources.manifest_formats import DELIMITERS, Format, format_of
from ittybatch.sources.s3 import SCHEME, split_uri

_MAX_NAME_CHARACTERS = 200
_MOST_HEADER_ROW = 10_000


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
        description="The character between values of CSV. Found by the titles if empty.",
        max_length=1,
    )
    sheet: str | None = Field(
        None,
        title="Sheet",
        description="Of an Excel workbook; the first visible one if empty.",
        max_length=_MAX_NAME_CHARACTERS,
    )
    header_row: int | None = Field(
        None,
        title="Row of the titles",
        description="Line of a CSV file, or row of a sheet, counted from 1. Found by the title "
        "`input` if empty. 0: there are no titles, and `columns` gives columns by their number; "
        "the first one is the input.",
        ge=0,
        le=_MOST_HEADER_ROW,
    )
    hidden_rows: bool = Field(
        default=False,
        title="Hidden rows, too",
        description="Of an Excel workbook: also rows that a filter or a person has hidden.",
    )

    @field_validator("uri")
    @classmethod
    def _readable(cls, uri: str) -> str:
        stripped = uri.strip()
        if stripped.startswith(SCHEME):
            if not split_uri(stripped)[1]:
                shown = without_secrets(stripped)
                raise ValueError(f"{shown!r} names a bucket; name the object of the manifest")
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
            raise ValueError(f"{without_secrets(uri)!r} holds a character that cannot be seen")
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
        """The format, by the name's suffix where it is not given: CSV if that says nothing."""
        return (format_of(self.uri) or "csv") if self.format == "auto" else self.format
