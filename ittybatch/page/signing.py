"""Signed addresses of objects, for a browser that watches them, and what became of an object."""

import shlex
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ittybatch.errors import IttybatchError
from ittybatch.sources.s3 import (
    aws_client,
    can_sign,
    client_in_region_of,
    failure,
    is_at_aws,
    split_uri,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Long enough to watch a film to its end, and short enough that a copied address soon is useless.
VALID_S = 3600
_MAX_CLIENTS = 32
# A page with ten outputs waits once for a bucket that does not answer, and not ten times.
_FAILED_FOR_S = 30.0
# A viewer waits for the answer.
_CALLS = Config(
    connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2}
)
# AWS redirects `bucket.s3.amazonaws.com` to the region's host; the content policy names only one.
_SIGNED = _CALLS.merge(Config(s3={"addressing_style": "virtual"}))
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_GONE = frozenset({"404", "NoSuchKey", "NotFound"})
_FORBIDDEN = frozenset({"403", "AccessDenied", "Forbidden"})


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at an object has found.

    Args:
        readable: Whether a browser with a signed address can read it now.
        message: What was found, in words.
        remedy: What to do about it: a sentence, or a command; empty if nothing.
    """

    readable: bool
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a bucket could not be asked, and until when it is not asked again."""

    message: str
    remedy: str | None
    until: float


class Signer:
    """Signs addresses with the receiver's AWS credentials. Methods block; any thread may call.

    A client is made for each bucket, in the bucket's region, and kept.
    """

    def __init__(self) -> None:
        self._clients: OrderedDict[str, S3Client] = OrderedDict()
        self._lock = threading.Lock()
        # A bucket that does not answer holds up itself alone.
        self._making: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._failed: OrderedDict[str, _Failed] = OrderedDict()

    def sign(self, uri: str, *, content_type: str = "", valid_s: int = VALID_S) -> str:
        """Sign an address from which a browser can read an object, also in part.

        Without credentials the address has no signature, which is enough for a public bucket.

        Args:
            uri: `s3://bucket/key`.
            content_type: The type that the store is to answer with, instead of the object's own.
            valid_s: Seconds for which the address is valid.

        Raises:
            IttybatchError: The bucket does not exist, or the AWS configuration cannot be used.
            ValueError: It is not the URI of an object.
        """
        bucket, key = split_uri(uri)
        parameters = {"Bucket": bucket, "Key": key}
        client = self._client(bucket)
        # S3 refuses to change the answer's headers for a request without a signature.
        if content_type and can_sign(client):
            parameters["ResponseContentType"] = content_type
        try:
            return client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=valid_s)
        except BotoCoreError as error:
            raise failure("shown", uri, error) from error

    def look(self, uri: str) -> Found:
        """Find out whether an object exists and can be read, for a viewer whose player failed.

        Args:
            uri: `s3://bucket/key`.
        """
        try:
            bucket, key = split_uri(uri)
            answer = self._client(bucket).head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            return _described(uri, error)
        except (BotoCoreError, ValueError) as error:
            failed = failure("read", uri, error)
            return Found(False, failed.message, failed.remedy or "")
        except IttybatchError as error:
            return Found(False, error.message, error.remedy or "")
        archive = answer.get("StorageClass", "")
        if archive in _ARCHIVES and 'ongoing-request="false"' not in answer.get("Restore", ""):
            if answer.get("Restore"):
                return Found(False, f"It is archived in {archive}, and is being restored.")
            return Found(
                False,
                f"It is archived in {archive}, so it cannot be read now. To restore it for 3 days:",
                f"aws s3api restore-object --bucket {shlex.quote(bucket)} --key {shlex.quote(key)} "
                "--restore-request Days=3",
            )
        return Found(True, "The object exists, and these credentials can read it.")

    def close(self) -> None:
        """Close every client."""
        with self._lock:
            while self._clients:
                self._clients.popitem()[1].close()

    def client(self, bucket: str) -> "S3Client":
        """The client for a bucket; errors as for `sign`."""
        return self._client(bucket)

    def _client(self, bucket: str) -> "S3Client":
        known = self._known(bucket)
        if known is not None:
            return known
        with self._lock:
            making = self._making.setdefault(bucket, threading.Lock())
        # One at a time: a page with ten outputs asks for the same client ten times at once.
        with making:
            known = self._known(bucket)
            if known is not None:
                return known
            try:
                made = _make_client(bucket)
            except IttybatchError as error:
                self._note(bucket, error)
                raise
            with self._lock:
                self._clients[bucket] = made
                # Others may still use those that are dropped, so they are not closed.
                while len(self._clients) > _MAX_CLIENTS:
                    self._clients.popitem(last=False)
            return made

    def _note(self, bucket: str, error: IttybatchError) -> None:
        with self._lock:
            self._failed[bucket] = _Failed(
                error.message, error.remedy, time.monotonic() + _FAILED_FOR_S
            )
            self._failed.move_to_end(bucket)
            while len(self._failed) > _MAX_CLIENTS:
                self._failed.popitem(last=False)

    def _known(self, bucket: str) -> "S3Client | None":
        with self._lock:
            failed = self._failed.get(bucket)
            if failed is not None and time.monotonic() < failed.until:
                raise IttybatchError(failed.message, remedy=failed.remedy)
            known = self._clients.get(bucket)
            if known is not None:
                self._clients.move_to_end(bucket)
            return known


def _make_client(bucket: str) -> "S3Client":
    client = client_in_region_of(f"s3://{bucket}/", config=_CALLS, ask=lambda call: call())
    if not is_at_aws(client):
        return client
    region = client.meta.region_name
    client.close()
    return cast("S3Client", aws_client("s3", region=region, config=_SIGNED))


def _described(uri: str, error: ClientError) -> Found:
    code = str(cast("dict[str, Any]", error.response).get("Error", {}).get("Code", ""))
    if code in _GONE:
        return Found(False, "The object no longer exists: it was deleted, or moved.")
    if code in _FORBIDDEN:
        return Found(
            False,
            "The receiver's AWS credentials may not read this object.",
            "Allow them s3:GetObject on the bucket's objects.",
        )
    failed = failure("read", uri, error)
    return Found(False, failed.message, failed.remedy or "")
