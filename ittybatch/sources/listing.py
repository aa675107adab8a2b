"""Listings of buckets, in the order of their keys.

obstore lists some twelve times faster than boto3 but cannot speak of every key that S3 allows:
one object named `a//b` or `a/../b` fails the whole page that holds it. There boto3 takes over
for a page. It also has the last word on what is wrong when nothing can be listed.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import boto3
import obstore
from botocore.exceptions import BotoCoreError, ClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError
from obstore.store import S3Store

from ittybatch.sources.errors import SourceError
from ittybatch.sources.s3 import DEFAULT_REGION, failure, s3_client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client
    from obstore.store import S3Config

_S3_PAGE = 1000
_UNSPEAKABLE = re.compile(r"(^|/)(\.{0,2})(/|$)|[\x00-\x1f\x7f]")


class Entry(NamedTuple):
    """One object of a listing."""

    key: str
    size_bytes: int
    fingerprint: str | None
    modified_at: datetime


def list_entries(
    bucket: str, prefix: str, after: str | None, page_size: int
) -> Iterator[list[Entry]]:
    """List a folder of a bucket.

    Args:
        bucket: Name of the bucket.
        prefix: Empty, or ending with a slash.
        after: Key to go on from, itself left out; None begins at the beginning.
        page_size: Entries a page at most.

    Yields:
        Pages that are never empty.

    Raises:
        SourceError: Naming the bucket, what failed, and the remedy.
    """
    session = boto3.Session()
    client = s3_client(session)
    store = _store(session, client, bucket, prefix)
    more = True
    while more:
        if (not prefix or _speakable(prefix[:-1])) and (after is None or _speakable(after)):
            try:
                for page in _fast_pages(store, prefix, after, page_size):
                    yield page
                    after = _last_key(after, page, bucket, prefix)
            except (BaseError, OSError):
                pass
            else:
                return
        entries, more = _one_slow_page(client, bucket, prefix, after)
        for start in range(0, len(entries), page_size):
            page = entries[start : start + page_size]
            yield page
            after = _last_key(after, page, bucket, prefix)


def _speakable(key: str) -> bool:
    return _UNSPEAKABLE.search(key) is None


def _last_key(after: str | None, page: list[Entry], bucket: str, prefix: str) -> str:
    # A folder's marker has lost the slash by which it was sorted.
    if after is not None and f"{page[0].key}/" < after:
        raise SourceError(
            f"s3://{bucket}/{prefix} is not listed in the order of its keys: "
            f"{page[0].key!r} came after {after!r}.",
            remedy="A store that does so cannot be read on after a stop; use a manifest instead.",
        )
    last = max(entry.key for entry in page)
    return last if after is None else max(after, last)


def _fast_pages(
    store: S3Store, prefix: str, after: str | None, page_size: int
) -> Iterator[list[Entry]]:
    for chunk in obstore.list(store, prefix or None, offset=after, chunk_size=page_size):
        if chunk:
            yield [
                Entry(
                    meta["path"],
                    meta["size"],
                    meta["version"] or _bare(meta["e_tag"]),
                    meta["last_modified"],
                )
                for meta in chunk
            ]


def _one_slow_page(
    client: "S3Client", bucket: str, prefix: str, after: str | None
) -> tuple[list[Entry], bool]:
    try:
        answer = client.list_objects_v2(
            Bucket=bucket, Prefix=prefix, StartAfter=after or "", MaxKeys=_S3_PAGE
        )
    except (ClientError, BotoCoreError) as error:
        raise failure("listed", f"s3://{bucket}/{prefix}", error) from error
    entries = [
        Entry(found["Key"], found["Size"], _bare(found.get("ETag")), found["LastModified"])
        for found in answer.get("Contents", [])
    ]
    return entries, bool(entries) and answer["IsTruncated"]


def _bare(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None


def _store(session: boto3.Session, client: "S3Client", bucket: str, prefix: str) -> S3Store:
    endpoint = urlsplit(client.meta.endpoint_url)
    config: S3Config = {"region": _region_of(client, bucket, prefix)}
    if not (endpoint.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn")):
        config["endpoint"] = client.meta.endpoint_url
        config["virtual_hosted_style_request"] = False
    provider = Boto3CredentialProvider(session) if session.get_credentials() else None
    if provider is None:
        config["skip_signature"] = True
    return S3Store(
        bucket,
        config=config,
        client_options={
            "allow_http": endpoint.scheme == "http",
            "timeout": timedelta(seconds=60),
            "connect_timeout": timedelta(seconds=10),
        },
        # Few and short: boto3 tries again after it, and knows the reason.
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=20)},
        credential_provider=provider,
    )


def _region_of(client: "S3Client", bucket: str, prefix: str) -> str:
    """Ask S3 where the bucket is, which it tells even those who may not look inside."""
    metadata: Mapping[str, Any]
    try:
        metadata = client.head_bucket(Bucket=bucket)["ResponseMetadata"]
    except ClientError as error:
        metadata = error.response["ResponseMetadata"]
        if metadata.get("HTTPStatusCode") == 404:  # noqa: PLR2004 - HTTP's not found
            raise failure("listed", f"s3://{bucket}/{prefix}", error) from error
    except BotoCoreError as error:
        raise failure("listed", f"s3://{bucket}/{prefix}", error) from error
    found = metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return found or client.meta.region_name or DEFAULT_REGION
