"""S3 with the usual AWS settings."""

import mimetypes
import threading
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ittybit_sandbox.errors import JobFailure
from ittybit_sandbox.vocabulary import ErrorKind

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK_BYTES: Final = 1_048_576
_SERVER_ERRORS: Final = 500
_TRANSIENT: Final = frozenset({"SlowDown", "RequestTimeout", "Throttling", "RequestLimitExceeded"})
# Python's own table lacks these, or depends on the machine.
_TYPES: Final = {
    ".avif": "image/avif",
    ".flac": "audio/flac",
    ".gif": "image/gif",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mkv": "video/x-matroska",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".ts": "video/mp2t",
    ".webp": "image/webp",
    ".wma": "audio/x-ms-wma",
    ".wmv": "video/x-ms-wmv",
}

for _suffix, _type in _TYPES.items():
    mimetypes.add_type(_type, _suffix)


def split_s3_url(url: str) -> tuple[str, str]:
    """Split `s3://bucket/key`."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


class Bucket:
    """Reads and writes objects; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @cached_property
    def _new_client(self) -> "S3Client":
        limits = Config(
            connect_timeout=10,
            read_timeout=60,
            retries={"mode": "standard", "max_attempts": 3},
            max_pool_connections=64,
        )
        return boto3.session.Session().client("s3", config=limits)

    @property
    def _client(self) -> "S3Client":
        with self._lock:
            return self._new_client

    def download(
        self, url: str, to: Path, *, max_bytes: int, timeout_s: float, cancelled: threading.Event
    ) -> None:
        """Download an object in chunks.

        Raises:
            JobFailure: The object cannot be read, is too large, or takes too long.
        """
        bucket, key = split_s3_url(url)
        deadline = time.monotonic() + timeout_s
        received = 0
        try:
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
            with to.open("wb") as file:
                for chunk in body.iter_chunks(_CHUNK_BYTES):
                    received += len(chunk)
                    if received > max_bytes:
                        raise too_large(max_bytes)
                    if cancelled.is_set() or time.monotonic() > deadline:
                        raise too_slow(timeout_s)
                    file.write(chunk)
        except (ClientError, BotoCoreError) as error:
            raise _failure("fetch the input", error) from None

    def upload(self, file: Path, url: str) -> None:
        """Upload an object.

        Raises:
            JobFailure: The object cannot be written.
        """
        bucket, key = split_s3_url(url)
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        try:
            with file.open("rb") as body:
                self._client.upload_fileobj(body, bucket, key, ExtraArgs={"ContentType": kind})
        except (ClientError, BotoCoreError, boto3.exceptions.S3UploadFailedError) as error:
            raise _failure("write the output", error) from None


def too_large(max_bytes: int) -> JobFailure:
    """Build the failure of an input over the size limit."""
    message = f"could not fetch the input: it is larger than {max_bytes} bytes"
    return JobFailure(ErrorKind.INVALID_INPUT, message)


def too_slow(timeout_s: float) -> JobFailure:
    """Build the failure of an input that took too long."""
    message = f"could not fetch the input: it took longer than {timeout_s:g} s"
    return JobFailure(ErrorKind.INTERNAL_ERROR, message)


def _failure(doing: str, error: Exception) -> JobFailure:
    if not isinstance(error, ClientError):
        reason = type(error).__name__
        return JobFailure(ErrorKind.INTERNAL_ERROR, f"could not {doing}: S3 failed with {reason}")
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", _SERVER_ERRORS)
    temporary = status >= _SERVER_ERRORS or code in _TRANSIENT
    kind = ErrorKind.INTERNAL_ERROR if temporary else ErrorKind.INVALID_INPUT
    return JobFailure(kind, f"could not {doing}: S3 answered {code}")
