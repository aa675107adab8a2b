"""The source of a command: its text, and the options that go with it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

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
    """What goes with a source. Each is named for what it means; not every source takes each."""

    suffix: Annotated[
        list[str] | None,
        Parameter(negative="", help="Only keys with this suffix, such as .mov. May be repeated."),
    ] = None
    glob: Annotated[str | None, Parameter(help="Only keys that match this pattern.")] = None
    also: Annotated[
        list[str] | None,
        Parameter(negative="", help="A bucket: this prefix, too. May be repeated."),
    ] = None
    include: Annotated[
        list[Litter] | None,
        Parameter(
            negative="",
            help="Also take what is left out otherwise: hidden, segments, archived, empty, or "
            "folders. May be repeated.",
        ),
    ] = None
    request_payer: Annotated[
        bool,
        Parameter(negative="", help="A bucket or inventory: agree to pay, where requesters do."),
    ] = False
    modified_since: Annotated[
        str | None,
        Parameter(help="Only objects changed since: 2d, 6h, or 2026-01-31T00:00:00Z."),
    ] = None
    since_last_scan: Annotated[
        bool,
        Parameter(negative="", help="A bucket: only what changed since it was last scanned."),
    ] = False
    under: Annotated[
        str | None, Parameter(help="A queue: the s3://bucket/prefix/ whose events are wanted.")
    ] = None
    dead_letter_url: Annotated[
        str | None, Parameter(help="A queue: where messages go that cannot be read.")
    ] = None
    query: Annotated[
        str | None, Parameter(help="A database: the SELECT, or @FILE that holds it.")
    ] = None
    key: Annotated[
        str | None, Parameter(help="A database: a unique column, to go on from after a stop.")
    ] = None


NO_OPTIONS = SourceOptions()
_FIELDS = {"suffix": "suffixes", "also": "more_uris", "under": "uri"}


def source_of(text: str, options: SourceOptions) -> Source:
    """Read a source as it was typed.

    Raises:
        IttybatchError: It is none, or takes no such option.
    """
    given = {
        _FIELDS.get(field.name, field.name): value
        for field in fields(options)
        # An empty text is a mistake that the source's own checks name.
        if (value := getattr(options, field.name)) not in (None, False)
    }
    query = given.get("query")
    if query is not None and query.startswith("@"):
        try:
            given["query"] = Path(query[1:]).read_text("utf-8")
        except OSError as error:
            raise IttybatchError(
                f"--query: {query[1:]} cannot be read: {error.strerror}."
            ) from error
    called = {
        _FIELDS.get(field.name, field.name): f"--{field.name.replace('_', '-')}"
        for field in fields(options)
    }
    return parse_source(text, given, called)
