"""The listing of a bucket, one answer at a time.

Requests are boto3's, but its parser takes twenty times as long for an answer as the rest of a
listing together. So its signed URLs are asked here, and `answer.parse_answer` reads what comes.
Whatever is out of the ordinary, boto3 asks again: it tries again where that may help, and has
the last word on what is wrong.
"""

import os
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from ittybatch.sources.answer import parse_answer
from ittybatch.sources.entry import Entry
from ittybatch.sources.errors import SourceError
from ittybatch.sources.s3 import failure, new_session, s3_client, split_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client

MAX_ANSWER = 1000
_URL_LIFE_S = 900
_OK = 200
_TIMEOUT = urllib3.Timeout(connect=10, read=60)


class Answer(NamedTuple):
    """A stretch of a listing.

    Args:
        entries: Its objects in the order of their keys; versions that are not the newest, and
            what was deleted, are left out.
        last: Key to go on from; None where there was none to list.
        more: Whether something comes after it.
    """

    entries: list[Entry]
    last: str | None
    more: bool


class Listing:
    """Lists a bucket; several threads may do so with one.

    Args:
        uri: A folder of the bucket, for messages.
        versioned: Whether objects are told apart by their version ids.
        connections: Requests at the same time.

    Raises:
        SourceError: The bucket does not exist, or cannot be reached.
    """

    def __init__(self, uri: str, *, versioned: bool = False, connections: int = 1) -> None:
        self._bucket, _ = split_uri(uri)
        self._versioned = versioned
        self._client = _client_in_region_of(uri)
        self._pool = urllib3.PoolManager(
            maxsize=connections, ca_certs=os.environ.get("AWS_CA_BUNDLE"), retries=False
        )
        self._patient = versioned

    def answer(self, prefix: str, after: str | None, limit: int) -> Answer:
        """List what comes after a key.

        Args:
            prefix: What keys begin with.
            after: Key to go on from, itself left out; None begins at the beginning.
            limit: Objects at most, up to a thousand.

        Raises:
            SourceError: Naming the bucket, what failed, and the remedy.
        """
        if self._versioned:
            return self._versions(prefix, after, limit)
        entries, more = self._quickly(prefix, after, limit) or self._patiently(prefix, after, limit)
        if not entries:
            return Answer([], None, more=False)
        last = entries[-1].key
        if last < entries[0].key or (after is not None and entries[0].key <= after):
            raise SourceError(
                f"s3://{self._bucket}/{prefix} is not listed in the order of its keys: "
                f"{min(last, entries[0].key)!r} came after {max(after or '', entries[0].key)!r}.",
                remedy="A store that does so cannot be read on after a stop; use a manifest.",
            )
        return Answer(entries, last, more)

    def folders(self, prefix: str) -> list[str]:
        """Name the first folders right below a prefix, up to a thousand, with their slashes.

        Raises:
            SourceError: as `answer` does.
        """
        try:
            answer = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/", MaxKeys=MAX_ANSWER
            )
        except (ClientError, BotoCoreError) as error:
            raise self._failure(prefix, error) from error
        return [found["Prefix"] for found in answer.get("CommonPrefixes", [])]

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.clear()
        self._client.close()

    def _quickly(
        self, prefix: str, after: str | None, limit: int
    ) -> tuple[list[Entry], bool] | None:
        if self._patient:
            return None
        asked: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix, "MaxKeys": limit}
        if after is not None:
            asked["StartAfter"] = after
        try:
            url = self._client.generate_presigned_url(
                "list_objects_v2", Params=asked, ExpiresIn=_URL_LIFE_S
            )
            answer = self._pool.request("GET", url, timeout=_TIMEOUT)
        except (HTTPError, OSError, BotoCoreError):
            # A proxy, say, that only boto3 knows of.
            self._patient = True
            return None
        if answer.status != _OK:
            return None
        return parse_answer(answer.data)

    def _patiently(self, prefix: str, after: str | None, limit: int) -> tuple[list[Entry], bool]:
        try:
            answer = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=prefix, StartAfter=after or "", MaxKeys=limit
            )
        except (ClientError, BotoCoreError) as error:
            raise self._failure(prefix, error) from error
        entries = [
            Entry(found["Key"], found["Size"], _bare(found.get("ETag")), found["LastModified"])
            for found in answer.get("Contents", [])
        ]
        return entries, answer["IsTruncated"]

    def _versions(self, prefix: str, after: str | None, limit: int) -> Answer:
        begin: dict[str, Any] = {} if after is None else {"KeyMarker": after}
        while True:
            try:
                answer = self._client.list_object_versions(
                    Bucket=self._bucket, Prefix=prefix, MaxKeys=limit, **begin
                )
            except (ClientError, BotoCoreError) as error:
                raise self._failure(prefix, error) from error
            versions = answer.get("Versions", [])
            keys = [found["Key"] for found in (*versions, *answer.get("DeleteMarkers", []))]
            last = max(keys, default=None)
            more = answer["IsTruncated"] and last is not None
            if not more or after is None or last is None or last > after:
                break
            # Still the versions of the key to begin after.
            begin = {
                "KeyMarker": answer["NextKeyMarker"],
                "VersionIdMarker": answer["NextVersionIdMarker"],
            }
        entries = [
            Entry(
                found["Key"],
                found["Size"],
                _version(found.get("VersionId")) or _bare(found.get("ETag")),
                found["LastModified"],
            )
            for found in versions
            # A key's newest version comes first, so it never is on a later page than the others.
            if found["IsLatest"] and (after is None or found["Key"] > after)
        ]
        return Answer(entries, last, more)

    def _failure(self, prefix: str, error: Exception) -> SourceError:
        return failure("listed", f"s3://{self._bucket}/{prefix}", error)


def _bare(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None


def _version(version: str | None) -> str | None:
    """What an unversioned object has is the text `null`, the same for every content."""
    return None if version == "null" else version


def _client_in_region_of(uri: str) -> "S3Client":
    """Ask S3 where the bucket is, which it tells even those who may not look inside."""
    session = new_session()
    client = s3_client(session)
    metadata: Mapping[str, Any]
    try:
        metadata = client.head_bucket(Bucket=split_uri(uri)[0])["ResponseMetadata"]
    except ClientError as error:
        metadata = error.response["ResponseMetadata"]
        if metadata.get("HTTPStatusCode") == 404:  # noqa: PLR2004 - HTTP's not found
            raise failure("listed", uri, error) from error
    except BotoCoreError as error:
        raise failure("listed", uri, error) from error
    found = metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    at_aws = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    if not at_aws or found in {None, client.meta.region_name}:
        return client
    client.close()
    return s3_client(session, found)
