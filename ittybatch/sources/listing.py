"""The listing of a bucket, one answer at a time.

boto3 signs the requests, but its parser takes ten times as long as the rest of a listing. So
urllib3 sends the signed URLs, and `answer.parse_answer` reads the answers. After anything but a
plain answer the request is repeated through boto3, which knows proxies and the store's errors.
"""

import os
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from ittybatch.sources.answer import ARCHIVES, as_time, parse_answer
from ittybatch.sources.entry import (
    Entry,
    bare_etag,
    decode_key,
    is_before,
    is_text,
    place_of,
    visible,
)
from ittybatch.sources.page import SourceError
from ittybatch.sources.s3 import (
    client_in_region_of,
    failure,
    patient,
    request_payer_parameters,
    split_uri,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


MAX_ANSWER = 1000
_URL_LIFE_S = 900
_OK = 200
_TIMEOUT = urllib3.Timeout(connect=10, read=60)
_RESTORES = {"OptionalObjectAttributes": ["RestoreStatus"]}
# If boto3 asks for this itself, it also decodes the keys, and loses what is not UTF-8 in them.
_ENCODED: dict[str, Any] = {"EncodingType": "url"}
# The signature includes these headers, so requests must have them.
_RESTORES_HEADER = {"x-amz-optional-object-attributes": "RestoreStatus"}
_PAYER_HEADER = {"x-amz-request-payer": "requester"}
_UNREADABLE = (ResponseParserError, KeyError, ValueError)


class Answer(NamedTuple):
    """A part of a listing.

    Args:
        entries: Its objects in the order of their keys, without old versions and delete markers.
        last: The key to continue after; None if there are no keys.
        more: Whether more keys follow.
    """

    entries: list[Entry]
    last: str | None
    more: bool


class Listing:
    """Lists a bucket. Threads may share it.

    Args:
        uri: A folder of the bucket, for messages.
        versioned: Whether the version id identifies an object, instead of its ETag.
        connections: Requests at the same time.
        request_payer: Whether the requester agrees to pay.

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
        self._payer = request_payer_parameters(request_payer)
        # Ask for the restore status only after the first archived object: few buckets have one,
        # and not every store knows this header.
        self._restores = False
        self._client = client_in_region_of(uri)
        self._pool = urllib3.PoolManager(
            maxsize=connections, ca_certs=os.environ.get("AWS_CA_BUNDLE"), retries=False
        )
        self._only_boto = versioned

    def answer(self, prefix: str, after: str | None, limit: int) -> Answer:
        """List the keys after a key.

        Args:
            prefix: The prefix of the keys.
            after: List the keys after this one; None to begin at the beginning.
            limit: How many keys at most, up to 1000.

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
        last = self._place(entries[-1].key, more=more)
        if is_before(last, entries[0].key) or (
            after is not None and not is_before(after, entries[0].key)
        ):
            raise SourceError(
                f"s3://{self._bucket}/{prefix} is not listed in the order of its keys: "
                f"{min(last, entries[0].key, key=place_of)!r} came after "
                f"{max(after or '', entries[0].key, key=place_of)!r}.",
                remedy="A scan of this store could not resume after a stop; use a manifest.",
            )
        return Answer(entries, last, more)

    def folders(self, prefix: str) -> list[str]:
        """List the first 1000 folders right below a prefix, with their slashes.

        Raises:
            SourceError: As for `answer`.
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
        """List the object with exactly this key, if it exists.

        Raises:
            SourceError: As for `answer`.
        """
        # A key sorts before every longer key that begins with it.
        found = self.answer(key, None, 1)
        return Answer([entry for entry in found.entries if entry.key == key], key, more=False)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()
        self._client.close()

    def _objects(self, prefix: str, after: str | None, limit: int) -> tuple[list[Entry], bool]:
        params: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix, "MaxKeys": limit}
        params |= _ENCODED
        if after is not None:
            params["StartAfter"] = after
        params |= {**self._payer, **(_RESTORES if self._restores else {})}
        body = self._signed(params)
        found = None if body is None else parse_answer(body)
        return found or self._through_boto(prefix, params, is_strange=body is not None)

    def _signed(self, params: dict[str, Any]) -> bytes | None:
        if self._only_boto:
            return None
        headers = {
            **(_PAYER_HEADER if self._payer else {}),
            **(_RESTORES_HEADER if "OptionalObjectAttributes" in params else {}),
        }
        try:
            url = self._client.generate_presigned_url(
                "list_objects_v2", Params=params, ExpiresIn=_URL_LIFE_S
            )
            answer = self._pool.request("GET", url, headers=headers, timeout=_TIMEOUT)
        except (HTTPError, OSError, BotoCoreError):
            # For example a proxy that only boto3 is configured for.
            self._only_boto = True
            return None
        return answer.data if answer.status == _OK else None

    def _through_boto(
        self, prefix: str, params: dict[str, Any], *, is_strange: bool
    ) -> tuple[list[Entry], bool]:
        answer = self._ask(
            prefix,
            lambda: self._client.list_objects_v2(**params),
            is_strange=is_strange,
        )
        found = _decoded(answer, "Contents")
        return [_entry(each) for each in found], answer.get("IsTruncated", bool(found))

    def _versions(self, prefix: str, after: str | None, limit: int) -> Answer:
        begin: dict[str, Any] = {} if after is None else {"KeyMarker": after}
        while True:
            params = {
                "Bucket": self._bucket,
                "Prefix": prefix,
                "MaxKeys": limit,
                **self._payer,
                **(_RESTORES if self._restores else {}),
                **begin,
            }
            answer = self._ask(
                prefix, partial(self._client.list_object_versions, **params, **_ENCODED)
            )
            versions = _decoded(answer, "Versions")
            if not self._restores and any(
                each.get("StorageClass") in ARCHIVES for each in versions
            ):
                self._restores = True
                continue
            keys = [found["Key"] for found in (*versions, *_decoded(answer, "DeleteMarkers"))]
            more = bool(answer.get("IsTruncated")) and bool(keys)
            last = self._place(max(keys, key=place_of), more=more) if keys else None
            if not more or after is None or last is None or is_before(after, last):
                break
            # These are still versions of the key to begin after.
            begin = {
                "KeyMarker": _key(answer, answer["NextKeyMarker"]),
                "VersionIdMarker": answer["NextVersionIdMarker"],
            }
        entries = [
            _entry(found, version=_version(found.get("VersionId")))
            for found in versions
            # A key's newest version comes first, so it is never on a later page than the others.
            if found["IsLatest"] and (after is None or is_before(after, found["Key"]))
        ]
        return Answer(entries, last, more)

    def _ask(
        self, prefix: str, call: "Callable[[], Any]", *, is_strange: bool = False
    ) -> "Mapping[str, Any]":
        """Call boto3, and make sure that the answer is a listing.

        Args:
            prefix: The prefix, for messages.
            call: The call.
            is_strange: Whether the store has just answered 200 with something else. boto3 treats
                that as a server error, which `patient` would retry for minutes.

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
        # Every listing has one of these; an empty body or a web page has none of them.
        if not answer.keys() & {"IsTruncated", "Name", "Contents", "CommonPrefixes", "Versions"}:
            raise self._no_listing(uri)
        return answer

    def _place(self, last: str, *, more: bool) -> str:
        """Return the last key of an answer, if the next request can begin after it."""
        if more and not is_text(last):
            raise SourceError(
                f"s3://{self._bucket}/ cannot be listed to its end: the name of the object "
                f"{visible(last)} is not UTF-8, and no request can ask for what comes after it.",
                remedy="Rename that object, then `ittybatch resume`; or use a manifest.",
            )
        return last

    def _no_listing(self, uri: str) -> SourceError:
        return SourceError(
            f"{uri} cannot be listed: {self._client.meta.endpoint_url} answered, but not with a "
            "listing of objects.",
            remedy="Check that AWS_ENDPOINT_URL is the address of the store's S3 API, not of its "
            "console or of a proxy's login page; this was not treated as an empty bucket.",
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


def _decoded(answer: "Mapping[str, Any]", name: str) -> list[dict[str, Any]]:
    return [{**each, "Key": _key(answer, each["Key"])} for each in answer.get(name, [])]


def _key(answer: "Mapping[str, Any]", key: str) -> str:
    return decode_key(key) if answer.get("EncodingType") == _ENCODED["EncodingType"] else key


def _version(version: str | None) -> str | None:
    """Return None for the version id `null`, which every unversioned object has."""
    return None if version == "null" else version
