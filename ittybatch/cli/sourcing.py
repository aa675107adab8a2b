"""Arguments of commands that plan or start a batch: the source and options."""

import codecs
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ittybatch.engine.options import RunOptions
from ittybatch.errors import IttybatchError
from ittybatch.sources import Source, parse_source
from ittybatch.sources.rules import Litter

SourceText = Annotated[
    str,
    Parameter(
        help="s3://bucket/prefix/ · the path, URL or s3:// address of a manifest (CSV, TSV, JSON "
        "Lines, Parquet, Excel) · "
        "inventory+s3://.../manifest.json · sql:NAME, an environment variable that holds a "
        "database's URL · sqs+https://..., a queue of S3's events."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """Options of sources. A source refuses options that it does not support, and names them."""

    suffix: Annotated[
        list[str] | None,
        Parameter(
            negative="", help="Only keys that end in this, for example .mov. May be repeated."
        ),
    ] = None
    glob: Annotated[str | None, Parameter(help="Only keys that match this pattern.")] = None
    exclude: Annotated[str | None, Parameter(help="Leave out keys that match this pattern.")] = None
    min_size: Annotated[
        str | None, Parameter(help="Leave out smaller objects: 500kB, 10MB, 2GiB.")
    ] = None
    max_size: Annotated[
        str | None, Parameter(help="Leave out larger objects: 500kB, 10MB, 2GiB.")
    ] = None
    also: Annotated[
        list[str] | None,
        Parameter(negative="", help="A bucket: also scan this prefix. May be repeated."),
    ] = None
    include: Annotated[
        list[Litter] | None,
        Parameter(
            negative="",
            help="Also include what is left out by default: hidden, segments, archived, empty, or "
            "folders. May be repeated.",
        ),
    ] = None
    request_payer: Annotated[
        bool,
        Parameter(
            negative="",
            help="A bucket, inventory, or manifest in a bucket: agree to pay for requests "
            "(requester pays).",
        ),
    ] = False
    modified_since: Annotated[
        str | None,
        Parameter(help="Only objects changed since: 2d, 6h, or 2026-01-31T00:00:00Z."),
    ] = None
    modified_before: Annotated[
        str | None,
        Parameter(help="Only objects last changed before: 2d, 6h, or 2026-01-31T00:00:00Z."),
    ] = None
    versioned: Annotated[
        bool,
        Parameter(
            negative="",
            help="A versioned bucket: identify objects by version id and not by ETag. Changing "
            "this makes every object new.",
        ),
    ] = False
    since_last_scan: Annotated[
        bool,
        Parameter(negative="", help="A bucket: only objects changed since its last scan."),
    ] = False
    overlap: Annotated[
        str | None,
        Parameter(
            help="A bucket, with --since-last-scan: start this long before it, for example 24h."
        ),
    ] = None
    parallel: Annotated[
        int | None, Parameter(help="A bucket: number of folders to list concurrently.")
    ] = None
    prefix: Annotated[
        str | None,
        Parameter(help="An inventory: only objects in this folder, for example uploads/."),
    ] = None
    under: Annotated[
        str | None, Parameter(help="A queue: only events of this s3://bucket/prefix/.")
    ] = None
    dead_letter_url: Annotated[
        str | None, Parameter(help="A queue: URL of the queue for unreadable messages.")
    ] = None
    max_messages: Annotated[
        int | None, Parameter(help="A queue: maximum number of messages per batch.")
    ] = None
    max_time: Annotated[
        str | None, Parameter(help="A queue: maximum time to read it, for example 15m.")
    ] = None
    format: Annotated[
        str | None,
        Parameter(help="A manifest: csv, tsv, jsonl, parquet or excel. Default: by its name."),
    ] = None
    column: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="A manifest: input=TITLE, metadata.NAME=TITLE, ...: the title of a column that is "
            "named differently. May be repeated.",
        ),
    ] = None
    encoding: Annotated[
        str | None,
        Parameter(help="A manifest: its text encoding, for example cp1252 or mac_roman."),
    ] = None
    delimiter: Annotated[
        str | None, Parameter(help="A CSV: the delimiter, if it cannot be found in the header.")
    ] = None
    sheet: Annotated[
        str | None,
        Parameter(help="An Excel workbook: the sheet, by name. Default: the first visible one."),
    ] = None
    header_row: Annotated[
        int | None,
        Parameter(help="A manifest: the line of its header, from 1; 0: no header."),
    ] = None
    hidden_rows: Annotated[
        bool, Parameter(negative="", help="An Excel workbook: also read hidden rows.")
    ] = False
    query: Annotated[
        str | None, Parameter(help="A database: the SELECT statement, or @FILE that contains it.")
    ] = None
    key: Annotated[
        str | None,
        Parameter(help="A database: a unique column, so that a stopped scan can continue."),
    ] = None


NO_OPTIONS = SourceOptions()
# The help shows no defaults, because an option that is not given is the deployment's.
Options = Annotated[RunOptions, Parameter(name="*", negative="", show_default=False)]
USUAL = RunOptions()
_FIELDS = {"suffix": "suffixes", "also": "more_uris", "under": "uri", "column": "columns"}
# A tab is hard to type in a shell.
_DELIMITERS = {"\\t": "\t", "tab": "\t"}


def source_of(text: str, options: SourceOptions) -> Source:
    """Parse a source and its options from the command line.

    Raises:
        IttybatchError: The text names no source, or the source does not support an option.
    """
    given = {
        _FIELDS.get(field.name, field.name): value
        for field in fields(options)
        # Keep empty texts: the checks of the source report them.
        if (value := getattr(options, field.name)) is not None and value is not False
    }
    if options.query is not None and options.query.startswith("@"):
        given["query"] = _query_of(Path(options.query[1:]))
    if options.column:
        given["columns"] = _columns_of(options.column)
    if options.delimiter:
        given["delimiter"] = _DELIMITERS.get(options.delimiter.lower(), options.delimiter)
    called = {
        _FIELDS.get(field.name, field.name): f"--{field.name.replace('_', '-')}"
        for field in fields(options)
    }
    return parse_source(text, given, called)


def _columns_of(given: list[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    for each, (name, _, title) in zip(given, pairs, strict=True):
        if not name.strip() or not title.strip():
            raise IttybatchError(
                f"--column: {each!r} is not of the form NAME=TITLE.",
                remedy='Write it like --column "input=File path" --column metadata.show=Show.',
            )
    return {name.strip(): title for name, _, title in pairs}


def _query_of(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IttybatchError(f"--query: {path} cannot be read: {error.strerror}.") from error
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise IttybatchError(
            f"--query: line {line} of {path} is not UTF-8.",
            remedy="Save the file as UTF-8, and run the command again.",
        ) from error
