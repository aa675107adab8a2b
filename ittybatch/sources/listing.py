"""The listing of a bucket, one answer at a time.

boto3 signs the requests, but its parser takes ten times as long as the rest of a listing. So its
signed URLs are asked here, and `answer.parse_answer` reads what comes. Anything but a plain
answer is asked for again through boto3, which knows proxies and the store's errors.
"""

import os
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from ittybatch.sources.answer import ARCHIVES, as_time, parse_answer
from ittybatch.sources.entry import Entry
from ittybatch.sources.errors import SourceError
from ittybatch.sources.etag import bare_etag
from ittybatch.sources.s3 import (
    failure,
    is_at_aws,
    new_session,
    patient,
    s3_client,
    split_uri,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_s3 import S3Client

MAX_ANSWER = 1000
_URL_LIFE_S = 900
_OK = 200
_TIMEOUT = urllib3.Timeout(connect=10, read=60)
_RESTORES = {"OptionalObjectAttributes": ["RestoreStatus"]}
_PAYER = {"RequestPayer": "requester"}
# Signed with the URL, so they have to be sent as well.
_RESTORES_HEADER = {"x-amz-optional-object-attributes": "RestoreStatus"}
_PAYER_HEADER = {"x-amz-request-payer": "requester"}
_UNREADABLE = (ResponseParserError, KeyError, ValueError)


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
        request_payer: Whether the requester pays, and agrees to.

    Raises:
        SourceError: The bucket does not exist, or cannot be reached.
    """

    def __init__(
        self,
        uri: str,
        *,
        versioned: bool = False,
        connections: int = 1,
        request_payer: bool = False,
    ) -> None:
        self._bucket, _ = split_uri(uri)
        self._versioned = versioned
        self._payer: dict[str, Any] = _PAYER if request_payer else {}
        # Asked for once an archived object was seen: few buckets have one, and not every store
        # knows the question.
        self._restores = False
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
        entries, more = self._objects(prefix, after, limit)
        if not self._restores and any(entry.archived for entry in entries):
            self._restores = True
            entries, more = self._objects(prefix, after, limit)
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
        answer = self._ask(
            prefix,
            lambda: self._client.list_objects_v2(
                Bucket=self._bucket,
                Prefix=prefix,
                Delimiter="/",
                MaxKeys=MAX_ANSWER,
                **self._payer,
            ),
        )
        return [found["Prefix"] for found in answer.get("CommonPrefixes", [])]

    def object(self, key: str) -> Answer:
        """List the one object of a name; nothing if there is none.

        Raises:
            SourceError: as `answer` does.
        """
        # A name comes before every longer one that begins with it.
        found = self.answer(key, None, 1)
        return Answer([entry for entry in found.entries if entry.key == key], key, more=False)

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.clear()
        self._client.close()

    def _objects(self, prefix: str, after: str | None, limit: int) -> tuple[list[Entry], bool]:
        asked: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix, "MaxKeys": limit}
        if after is not None:
            asked["StartAfter"] = after
        asked |= {**self._payer, **(_RESTORES if self._restores else {})}
        body = self._quickly(asked)
        found = None if body is None else parse_answer(body)
        return found or self._patiently(prefix, asked, is_strange=body is not None)

    def _quickly(self, asked: dict[str, Any]) -> bytes | None:
        if self._patient:
            return None
        headers = {
            **(_PAYER_HEADER if self._payer else {}),
            **(_RESTORES_HEADER if "OptionalObjectAttributes" in asked else {}),
        }
        try:
            url = self._client.generate_presigned_url(
                "list_objects_v2", Params=asked, ExpiresIn=_URL_LIFE_S
            )
            answer = self._pool.request("GET", url, headers=headers, timeout=_TIMEOUT)
        except (HTTPError, OSError, BotoCoreError):
            # A proxy, say, that only boto3 knows of.
            self._patient = True
            return None
        return answer.data if answer.status == _OK else None

    def _patiently(
        self, prefix: str, asked: dict[str, Any], *, is_strange: bool
    ) -> tuple[list[Entry], bool]:
        answer = self._ask(
            prefix, lambda: self._client.list_objects_v2(**asked), is_strange=is_strange
        )
        found = answer.get("Contents", [])
        return [_entry(each) for each in found], answer.get("IsTruncated", bool(found))

    def _versions(self, prefix: str, after: str | None, limit: int) -> Answer:
        begin: dict[str, Any] = {} if after is None else {"KeyMarker": after}
        while True:
            asked = {
                "Bucket": self._bucket,
                "Prefix": prefix,
                "MaxKeys": limit,
                **self._payer,
                **(_RESTORES if self._restores else {}),
                **begin,
            }
            answer = self._ask(prefix, partial(self._client.list_object_versions, **asked))
            versions = answer.get("Versions", [])
            if not self._restores and any(
                each.get("StorageClass") in ARCHIVES for each in versions
            ):
                self._restores = True
                continue
            keys = [found["Key"] for found in (*versions, *answer.get("DeleteMarkers", []))]
            last = max(keys, default=None)
            more = bool(answer.get("IsTruncated")) and last is not None
            if not more or after is None or last is None or last > after:
                break
            # Still the versions of the key to begin after.
            begin = {
                "KeyMarker": answer["NextKeyMarker"],
                "VersionIdMarker": answer["NextVersionIdMarker"],
            }
        entries = [
            _entry(found, version=_version(found.get("VersionId")))
            for found in versions
            # A key's newest version comes first, so it never is on a later page than the others.
            if found["IsLatest"] and (after is None or found["Key"] > after)
        ]
        return Answer(entries, last, more)

    def _ask(
        self, prefix: str, call: "Callable[[], Any]", *, is_strange: bool = False
    ) -> "Mapping[str, Any]":
        """Ask through boto3, and make sure that the answer is one.

        Args:
            prefix: What is listed, for messages.
            call: Asks.
            is_strange: Whether the store has just answered 200 with something else. boto3 takes
                that for an error of the server, which would be worth minutes of patience.

        Raises:
            SourceError: Naming the bucket, what failed, and the remedy.
        """
        uri = f"s3://{self._bucket}/{prefix}"
        try:
            answer: Mapping[str, Any] = call() if is_strange else patient(call)
        except (ClientError, BotoCoreError) as error:
            if is_strange:
                raise self._no_listing(uri) from error
            raise failure("listed", uri, error) from error
        except _UNREADABLE as error:
            raise self._no_listing(uri) from error
        # Every answer has one of these. Of an empty body or a web page boto3 makes neither.
        if not answer.keys() & {"IsTruncated", "Name", "Contents", "CommonPrefixes", "Versions"}:
            raise self._no_listing(uri)
        return answer

    def _no_listing(self, uri: str) -> SourceError:
        return SourceError(
            f"{uri} cannot be listed: {self._client.meta.endpoint_url} answered, but not with a "
            "listing of objects.",
            remedy="Check that AWS_ENDPOINT_URL is the address of the store's S3 API, not of its "
            "console or of a proxy's login page; nothing was taken for an empty bucket.",
        )


def _entry(found: "Mapping[str, Any]", version: str | None = None) -> Entry:
    restore = found.get("RestoreStatus", {})
    restored = not restore.get("IsRestoreInProgress") and "RestoreExpiryDate" in restore
    return Entry(
        found["Key"],
        found.get("Size"),
        version or bare_etag(found.get("ETag")),
        as_time(found.get("LastModified")),
        found.get("StorageClass") in ARCHIVES and not restored,
    )


def _version(version: str | None) -> str | None:
    """What an unversioned object has is the text `null`, the same for every content."""
    return None if version == "null" else version


def _client_in_region_of(uri: str) -> "S3Client":
    """Ask S3 where the bucket is, which it tells even those who may not look inside."""
    session = new_session()
    client = s3_client(session)
    metadata: Mapping[str, Any]
    try:
        metadata = patient(lambda: client.head_bucket(Bucket=split_uri(uri)[0]))["ResponseMetadata"]
    except ClientError as error:
        metadata = error.response["ResponseMetadata"]
        if metadata.get("HTTPStatusCode") == 404:  # noqa: PLR2004 - HTTP's not found
            raise failure("listed", uri, error) from error
    except BotoCoreError as error:
        raise failure("listed", uri, error) from error
    found = metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    if not is_at_aws(client) or found in {None, client.meta.region_name}:
        return client
    client.close()
    return s3_client(session, found)
