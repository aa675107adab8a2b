"""All kinds of source, and how a text of the command line names one of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from ittybatch.ittybit.redaction import without_secrets
from ittybatch.sources.bucket import BucketSource, read_bucket
from ittybatch.sources.failed import FailedJobsSource
from ittybatch.sources.form import Tabs
from ittybatch.sources.inventory import InventorySource, read_inventory, scanned_folder
from ittybatch.sources.manifest import ManifestSource, format_of, unreadable_name
from ittybatch.sources.manifest_pages import read_manifest
from ittybatch.sources.page import Page, SourceError
from ittybatch.sources.queue import QueueSource, read_queue
from ittybatch.sources.requests import RequestsSource
from ittybatch.sources.s3 import SCHEME
from ittybatch.sources.sql import SqlSource, read_sql

DEFAULT_PAGE_SIZE = 1000
MAX_PAGE_SIZE = 5000

Source = Annotated[
    BucketSource
    | ManifestSource
    | InventorySource
    | SqlSource
    | QueueSource
    | FailedJobsSource
    | RequestsSource,
    Field(discriminator="type"),
    Tabs(),
]
ReadableSource = BucketSource | ManifestSource | InventorySource | SqlSource | QueueSource

_MANIFEST_ONLY = frozenset(
    {"format", "columns", "encoding", "delimiter", "sheet", "header_row", "hidden_rows"}
)
_SQL, _QUEUE, _INVENTORY = "sql:", "sqs+", "inventory+"
FORMS = (
    "s3://bucket/prefix/, or the path, https:// URL or s3:// URI of a .csv, .tsv, .jsonl, "
    ".parquet or .xlsx file, "
    "inventory+s3://bucket/.../manifest.json, sql:DATABASE_URL_VARIABLE with a query, or "
    "sqs+https://queue-url with the folder to take events of."
)


def read_pages(
    source: ReadableSource,
    *,
    cursor: str | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
) -> Iterator[Page]:
    """Read a source in pages, each with a cursor to resume right after it.

    Args:
        source: Any source but `FailedJobsSource`, which reads the ledger, and `RequestsSource`.
        cursor: Cursor of the last committed page; None to begin at the beginning.
        page_size: Objects or rows in a page before filters, 1 to 5000.

    Yields:
        Pages in the source's order. An empty source yields none.

    Raises:
        SourceError: The source cannot be read, or not to its end.
        ValueError: The page size is out of range.
    """
    if not 1 <= page_size <= MAX_PAGE_SIZE:
        raise ValueError(f"page_size is {page_size}; it must be from 1 to {MAX_PAGE_SIZE}")
    match source:
        case BucketSource():
            return read_bucket(source, cursor=cursor, page_size=page_size)
        case InventorySource():
            return read_inventory(source, cursor=cursor, page_size=page_size)
        case SqlSource():
            return read_sql(source, cursor=cursor, page_size=page_size)
        case QueueSource():
            return read_queue(source, page_size=page_size)
        case ManifestSource():
            return read_manifest(source, cursor=cursor, page_size=page_size)


def scanned_folders(source: Source, *, within_s: float | None = None) -> list[str]:
    """List the S3 folders that a source scans; empty for a source that does not scan folders.

    An output in one of these folders would become a new item.

    Args:
        source: The source.
        within_s: How long to wait for an inventory's manifest; None retries for minutes.

    Raises:
        SourceError: An inventory's manifest cannot be read.
    """
    match source:
        case BucketSource():
            return list(source.uris)
        case QueueSource():
            return [source.uri]
        case InventorySource():
            return [scanned_folder(source, within_s=within_s)]
        case _:
            return []


def parse_source(
    text: str,
    fields: Mapping[str, Any] | None = None,
    called: Mapping[str, str] | None = None,
) -> ReadableSource:
    """Make a source from a text and the fields that options set.

    Args:
        text: One of the forms in `FORMS`.
        fields: Other fields of the source, such as `suffixes`.
        called: The options' names, by field, for messages.

    Raises:
        SourceError: The text names no source, or the source does not have one of the fields.
    """
    stripped = text.strip()
    given = dict(fields or {})
    try:
        model, own = _model_of(stripped, given)
        if doubled := sorted(own.keys() & given.keys()):
            raise _named_twice(stripped, [(called or {}).get(name, name) for name in doubled])
        return model.model_validate({**own, **given})
    except ValidationError as error:
        raise _refused(stripped, error, given, called or {}) from error
    except ValueError as error:
        raise _unknown(stripped, str(error)) from error


def _model_of(text: str, given: Mapping[str, Any]) -> tuple[type[ReadableSource], dict[str, str]]:
    """Return the model that a text names, and the fields that the text sets."""
    if text.startswith(_SQL):
        return SqlSource, {"database": _absolute_database(text.removeprefix(_SQL))}
    if text.startswith(_QUEUE):
        return QueueSource, {"queue_url": text.removeprefix(_QUEUE)}
    if text.startswith(_INVENTORY):
        return InventorySource, {"manifest_uri": text.removeprefix(_INVENTORY)}
    if not text:
        raise ValueError("it is empty")
    # An option for reading files means that the text names a file.
    is_file = not _MANIFEST_ONLY.isdisjoint(given) and not text.endswith("/")
    if text.startswith(SCHEME) and text.endswith("/manifest.json") and not is_file:
        return InventorySource, {"manifest_uri": text}
    if is_file or format_of(text) is not None:
        return ManifestSource, {"uri": _absolute(text)}
    if why := unreadable_name(text):
        raise ValueError(why)
    if text.startswith(SCHEME):
        return BucketSource, {"uri": text}
    raise ValueError(
        "it is not an s3:// prefix, and its suffix is not a manifest's; for a file with another "
        "name, set the format (--format csv)"
    )


def _absolute_database(text: str) -> str:
    """Make the path of a SQLite file absolute: the batch may run in another folder."""
    for scheme in ("sqlite:///", "sqlite+pysqlite:///"):
        if text.startswith(scheme):
            path, mark, query = text.removeprefix(scheme).partition("?")
            if path and path != ":memory:" and not path.startswith("file:"):
                return f"{scheme}{Path(path).expanduser().absolute()}{mark}{query}"
    return text


def _absolute(text: str) -> str:
    # The batch may run in another folder than the command.
    return text if "://" in text else str(Path(text).expanduser().resolve())


def _refused(
    text: str, error: ValidationError, given: Mapping[str, Any], called: Mapping[str, str]
) -> SourceError:
    first = error.errors(include_url=False, include_input=False)[0]
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        reason = "this source does not have this option"
    if name in given or first["type"] == "missing":
        return SourceError(
            f"{without_secrets(text)!r} cannot be read: {called.get(name, name)}: "
            f"{without_secrets(reason)}.",
            remedy="`ittybatch plan --help` lists the options of each source.",
        )
    return _unknown(text, reason)


def _named_twice(text: str, options: list[str]) -> SourceError:
    return SourceError(
        f"{' and '.join(options)} would replace a part of {without_secrets(text)!r}.",
        remedy="Leave the option out, or give the other place as the source. `--under` is for a "
        "queue (sqs+https://...), whose address has no folder.",
    )


def _unknown(text: str, reason: str) -> SourceError:
    return SourceError(
        f"{without_secrets(text)!r} is not a source: {without_secrets(reason)}.",
        remedy=f"Use {FORMS}",
    )
