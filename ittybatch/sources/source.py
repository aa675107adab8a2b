"""The kinds of source, and how a user's text becomes one of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from ittybatch.sources.bucket import BucketSource, read_bucket
from ittybatch.sources.errors import SourceError, without_secrets
from ittybatch.sources.failed import FailedJobsSource
from ittybatch.sources.form import Tabs
from ittybatch.sources.inventory import InventorySource, read_inventory
from ittybatch.sources.manifest import ManifestSource, read_manifest
from ittybatch.sources.page import Page
from ittybatch.sources.s3 import SCHEME
from ittybatch.sources.sql import SqlSource, read_sql

DEFAULT_PAGE_SIZE = 1000
MAX_PAGE_SIZE = 5000

Source = Annotated[
    BucketSource | ManifestSource | InventorySource | SqlSource | FailedJobsSource,
    Field(discriminator="type"),
    Tabs(),
]
ReadableSource = BucketSource | ManifestSource | InventorySource | SqlSource

_MANIFEST_SUFFIX = ".csv"


def read_pages(
    source: ReadableSource,
    *,
    cursor: str | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
) -> Iterator[Page]:
    """Read a source in pages, each with the cursor to go on right after it.

    Args:
        source: Any but the ledger itself.
        cursor: Of the last page that was dealt with; None begins at the beginning.
        page_size: Objects or rows a page, 1 to 5000, before any are left out.

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
        case ManifestSource():
            return read_manifest(source, cursor=cursor, page_size=page_size)


def parse_source(text: str) -> BucketSource | ManifestSource:
    """Tell from a user's text which source it means.

    Args:
        text: `s3://bucket/prefix/`, or the path, URL or S3 URI of a `.csv` file.

    Raises:
        SourceError: It means neither.
    """
    stripped = text.strip()
    try:
        if _path_of(stripped).lower().endswith(_MANIFEST_SUFFIX):
            return ManifestSource(uri=_absolute(stripped))
        if stripped.startswith(SCHEME):
            return BucketSource(uri=stripped)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise _unknown(stripped, reason) from error
    except ValueError as error:
        raise _unknown(stripped, str(error)) from error
    raise _unknown(stripped, "it is neither an s3:// prefix nor a .csv file")


def _path_of(text: str) -> str:
    # A question mark is a character like any other in an S3 key or a file's name.
    return urlsplit(text).path if text.startswith(("http://", "https://")) else text


def _absolute(text: str) -> str:
    # The batch may run in another folder than the one it was asked for in.
    return text if "://" in text else str(Path(text).expanduser().resolve())


def _unknown(text: str, reason: str) -> SourceError:
    return SourceError(
        f"{without_secrets(text)!r} is no source: {without_secrets(reason)}.",
        remedy="Use s3://bucket/prefix/, or the path, https:// URL or s3:// URI of a .csv file.",
    )
