"""Sources: where items come from, read in pages that a later process can go on after.

source = parse_source("s3://media/uploads/")
for page in read_pages(source, cursor=saved):
    plan(page.items)
    saved = page.cursor
"""

from ittybatch.sources.bucket import BucketSource
from ittybatch.sources.failed import FailedJobsSource, RetryableState
from ittybatch.sources.inventory import InventorySource
from ittybatch.sources.manifest import ManifestSource
from ittybatch.sources.page import Page, Reject, SourceError
from ittybatch.sources.queue import QueueSource
from ittybatch.sources.requests import RequestsSource
from ittybatch.sources.source import (
    ReadableSource,
    Source,
    parse_source,
    read_pages,
    scanned_folders,
)
from ittybatch.sources.sql import SqlSource

__all__ = [
    "BucketSource",
    "FailedJobsSource",
    "InventorySource",
    "ManifestSource",
    "Page",
    "QueueSource",
    "ReadableSource",
    "Reject",
    "RequestsSource",
    "RetryableState",
    "Source",
    "SourceError",
    "SqlSource",
    "parse_source",
    "read_pages",
    "scanned_folders",
]
