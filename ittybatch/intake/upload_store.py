"""The bucket of uploads: signs URLs for browsers, and checks what has arrived."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.redaction import redacted
from ittybatch.sources.head import entry_of_head
from ittybatch.sources.page import SourceError
from ittybatch.sources.s3 import aws_client, can_sign, client_in_region_of, failure, is_at_aws

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

logger = logging.getLogger(__name__)

# A browser waits for the answer, and repeats its request if there is none.
_CALLS = Config(
    connect_timeout=5,
    read_timeout=25,
    retries={"mode": "standard", "total_max_attempts": 2},
    # Browsers do not send the checksums that boto3 would announce for the parts.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
# AWS redirects `bucket.s3.amazonaws.com` to the region's host, and browsers do not follow a
# redirect of a preflight. This style signs for the region's host.
_SIGNED = _CALLS.merge(Config(s3={"addressing_style": "virtual"}))
_MAX_LISTED = 1000
_BAD_PARTS = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML"})
_GONE = frozenset({"NoSuchUpload"})
_NOT_FOUND = frozenset({"404", "NoSuchKey", "NotFound"})


class StoreUnavailable(IttybatchError):
    """The bucket cannot be used now, or by these credentials. The log says why."""


class PartsRefused(Exception):
    """The store does not have these parts, or they are too small."""


class UploadGone(Exception):
    """The store no longer has the multipart upload: it was completed or aborted."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that has arrived.

    Args:
        size_bytes: Its size.
        content_type: Its type, in lower case.
        fingerprint: Its ETag, or its version id, as a scan of the bucket reads it.
        modified_at: When it was complete.
    """

    size_bytes: int
    content_type: str
    fingerprint: str | None
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class PostForm:
    """A form that puts one file into a bucket.

    Args:
        url: Where the form is sent.
        fields: Its fields, all before that of the file, which is called `file`.
    """

    url: str
    fields: Mapping[str, str]


class UploadStore:
    """One bucket. Its methods block; any thread may call them.

    Args:
        bucket: The bucket's name.
        versioned: Whether the version id identifies an object, instead of its ETag.
    """

    def __init__(self, bucket: str, *, versioned: bool = False) -> None:
        self._bucket = bucket
        self._versioned = versioned

    @cached_property
    def _client(self) -> "S3Client":
        return client_in_region_of(f"s3://{self._bucket}/", config=_CALLS, ask=lambda call: call())

    @cached_property
    def _signer(self) -> "S3Client":
        if not is_at_aws(self._client):
            return self._client
        region = self._client.meta.region_name
        return cast("S3Client", aws_client("s3", region=region, config=_SIGNED))

    def begin(self, key: str, content_type: str) -> str:
        """Begin a multipart upload.

        Returns:
            S3's id of it.

        Raises:
            StoreUnavailable: The bucket cannot be used.
        """
        answer = self._ask(
            lambda: self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, ContentType=content_type
            )
        )
        return answer["UploadId"]

    def sign_put(self, key: str, content_type: str, size_bytes: int, expires_s: int) -> str:
        """Sign a URL to which one file of exactly this type and size may be sent.

        Raises:
            StoreUnavailable: There are no credentials to sign with.
        """
        parameters = {
            "Bucket": self._bucket,
            "Key": key,
            "ContentType": content_type,
            "ContentLength": size_bytes,
        }
        return self._sign("put_object", parameters, expires_s)

    def sign_post(
        self, key: str, content_type: str, max_bytes: int, expires_s: int, redirect: str
    ) -> PostForm:
        """Sign a form that puts one file of this type into the bucket, without any script.

        Args:
            key: Key of the object.
            content_type: Its type.
            max_bytes: The largest file that the bucket accepts; S3 takes at most 5 GiB.
            expires_s: Seconds for which the form is valid.
            redirect: Where the bucket sends the browser then.

        Raises:
            StoreUnavailable: There are no credentials to sign with.
        """
        fields = {"Content-Type": content_type, "success_action_redirect": redirect}
        with self._explained():
            if not can_sign(self._signer):
                raise NoCredentialsError
            signed = self._signer.generate_presigned_post(
                self._bucket,
                key,
                Fields=fields,
                Conditions=[
                    *({name: value} for name, value in fields.items()),
                    ["content-length-range", 1, max_bytes],
                ],
                ExpiresIn=expires_s,
            )
        return PostForm(signed["url"], signed["fields"])

    def origin(self) -> str:
        """The origin of its URLs for browsers.

        Raises:
            StoreUnavailable: There are no credentials to sign with.
        """
        parts = urlsplit(self._sign("get_object", {"Bucket": self._bucket, "Key": "x"}, 1))
        return f"{parts.scheme}://{parts.netloc}"

    def sign_parts(
        self, key: str, multipart_id: str, sizes: Mapping[int, int], expires_s: int
    ) -> list[str]:
        """Sign a URL for each part, to which exactly so many bytes may be sent.

        Args:
            key: Key of the object.
            multipart_id: S3's id of the multipart upload.
            sizes: Size of each part in bytes, by its number.
            expires_s: Seconds for which the URLs are valid.

        Raises:
            StoreUnavailable: There are no credentials to sign with.
        """
        common = {"Bucket": self._bucket, "Key": key, "UploadId": multipart_id}
        return [
            self._sign(
                "upload_part", {**common, "PartNumber": number, "ContentLength": size}, expires_s
            )
            for number, size in sizes.items()
        ]

    def parts(self, key: str, multipart_id: str) -> dict[int, str]:
        """List the parts that have arrived: the ETag of each by its number.

        Raises:
            UploadGone: The multipart upload was completed or aborted.
            StoreUnavailable: The bucket cannot be used.
        """
        found: dict[int, str] = {}
        marker = 0
        while True:
            answer = self._ask(
                partial(
                    self._client.list_parts,
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=multipart_id,
                    MaxParts=_MAX_LISTED,
                    PartNumberMarker=marker,
                )
            )
            found |= {part["PartNumber"]: part["ETag"] for part in answer.get("Parts", [])}
            marker = int(answer.get("NextPartNumberMarker") or 0)
            if not answer.get("IsTruncated") or not marker:
                return found

    def complete(self, key: str, multipart_id: str, etags: Mapping[int, str]) -> None:
        """Make the object out of its parts.

        Args:
            key: Key of the object.
            multipart_id: S3's id of the multipart upload.
            etags: The ETag of each part by its number.

        Raises:
            PartsRefused: A part is missing, another one, or too small.
            UploadGone: The multipart upload was completed or aborted.
            StoreUnavailable: The bucket cannot be used.
        """
        parts: Sequence[Any] = [
            {"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)
        ]
        self._ask(
            lambda: self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=multipart_id,
                MultipartUpload={"Parts": parts},
            )
        )

    def head(self, key: str) -> Stored | None:
        """Look at an object.

        Returns:
            What it is; None if it is not there.

        Raises:
            StoreUnavailable: The bucket cannot be used.
        """
        try:
            answer = self._ask(lambda: self._client.head_object(Bucket=self._bucket, Key=key))
        except FileNotFoundError:
            return None
        entry = entry_of_head(key, answer, versioned=self._versioned)
        return Stored(
            answer["ContentLength"],
            answer.get("ContentType", "").lower(),
            entry.fingerprint,
            answer["LastModified"],
        )

    def abort(self, key: str, multipart_id: str) -> None:
        """Abort a multipart upload and remove its parts; one that is gone is no error.

        Raises:
            StoreUnavailable: The bucket cannot be used.
        """
        with contextlib.suppress(UploadGone):
            self._ask(
                lambda: self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=multipart_id
                )
            )

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is no error.

        Raises:
            StoreUnavailable: The bucket cannot be used.
        """
        self._ask(lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    def _sign(self, operation: str, parameters: Mapping[str, Any], expires_s: int) -> str:
        with self._explained():
            if not can_sign(self._signer):
                raise NoCredentialsError
            return self._signer.generate_presigned_url(
                operation, Params=dict(parameters), ExpiresIn=expires_s
            )

    def _ask(self, call: Callable[[], T]) -> T:
        with self._explained():
            return call()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the client's errors into ours. What the log says of them holds no signature."""
        try:
            yield
        except ClientError as error:
            code = str(cast("Mapping[str, Any]", error.response).get("Error", {}).get("Code", ""))
            if code in _BAD_PARTS:
                raise PartsRefused from error
            if code in _GONE:
                raise UploadGone from error
            if code in _NOT_FOUND:
                raise FileNotFoundError from error
            raise self._unavailable(failure("used for uploads", self._uri, error)) from error
        except (BotoCoreError, NoCredentialsError, ValueError) as error:
            raise self._unavailable(failure("used for uploads", self._uri, error)) from error
        except SourceError as error:
            raise self._unavailable(error) from error

    @property
    def _uri(self) -> str:
        return f"s3://{self._bucket}/"

    def _unavailable(self, why: IttybatchError) -> StoreUnavailable:
        logger.warning("Uploads: %s", redacted(why.message))
        return StoreUnavailable(
            "The bucket of uploads cannot be used now.",
            remedy="Try again in a minute. If it fails again, run `ittybatch doctor`, and look at "
            "the receiver's log.",
        )
