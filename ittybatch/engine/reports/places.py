"""Where reports are written: files and objects that are whole or not there at all."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from botocore.exceptions import BotoCoreError, ClientError

from ittybatch.errors import IttybatchError
from ittybatch.home import private_folder
from ittybatch.sources.s3 import SCHEME, failure, s3_client, split_uri

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

# S3 takes 10,000 parts: at this size a report of 160 GB.
_PART_BYTES = 16 * 1024 * 1024
_CONTENT_TYPES = {
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
}


class NotWritten(IttybatchError):
    """A report could not be written to where it was asked for; nothing is left there of it."""


@contextlib.contextmanager
def whole(place: str) -> Iterator[IO[bytes]]:
    """Write a file or an object whole or not at all: a report cut short must not pass for one.

    Args:
        place: A path, or `s3://bucket/key`.

    Raises:
        NotWritten: The place cannot be written to.
    """
    try:
        with _object(place) if place.startswith(SCHEME) else _file(Path(place)) as stream:
            yield stream
    except OSError as error:
        raise NotWritten(
            f"The report cannot be written to {place}: {error.strerror or error}.",
            remedy="Check the path and the disk; `ittybatch report` writes it again.",
        ) from error
    except (ClientError, BotoCoreError) as error:
        raise NotWritten(
            failure("written", place, error).message,
            remedy="Allow these credentials s3:PutObject and s3:AbortMultipartUpload there; "
            "`ittybatch report` writes it again.",
        ) from error


def folder_of(home: Path, batch: str) -> Path:
    """Make the folder in which a batch leaves its files, for its owner alone.

    Raises:
        ConfigurationError: It cannot be made.
    """
    return private_folder(home / "batches" / batch)


def within(folder: str, name: str) -> str:
    """The place of a name in a folder or below a prefix."""
    return f"{folder.rstrip('/')}/{name}" if folder.startswith(SCHEME) else str(Path(folder) / name)


@contextlib.contextmanager
def _file(path: Path) -> Iterator[IO[bytes]]:
    if not path.name:
        raise NotWritten(
            f"The report cannot be written to {str(path)!r}, which names no file.",
            remedy="Write the path of a file, or s3://bucket/key.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two legs may write the same report at the same time: each its own, and the last one stays.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # For those who may enter its folder: a report in the home is its owner's alone.
        mode = 0o666 & path.parent.stat().st_mode
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:  # whatever it was, also Ctrl-C: half a report is not left lying about
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _object(uri: str) -> Iterator[IO[bytes]]:
    try:
        bucket, key = split_uri(uri)
    except ValueError as error:
        raise NotWritten(f"{error}.", remedy="Write s3://bucket/key.") from error
    if not key or key.endswith("/"):
        raise NotWritten(f"{uri} names no object.", remedy="Write s3://bucket/key.")
    upload = _Upload(s3_client(), bucket, key)
    try:
        yield cast("IO[bytes]", upload)
        upload.finish()
    except BaseException:  # likewise: S3 would keep, and bill, the parts sent so far
        upload.abandon()
        raise


class _Upload(io.RawIOBase):
    """An object as a stream, sent part by part. It exists once `finish` has returned.

    Args:
        s3: The client.
        bucket: The object's bucket.
        key: The object's key.
    """

    def __init__(self, s3: "S3Client", bucket: str, key: str) -> None:
        super().__init__()
        self._s3 = s3
        self._bucket = bucket
        self._key = key
        self._type = _CONTENT_TYPES.get(Path(key).suffix, "application/octet-stream")
        self._pending = bytearray()
        self._upload: str | None = None
        self._parts: list[CompletedPartTypeDef] = []
        self._written = 0

    def writable(self) -> bool:
        """It is written to, and nothing else."""
        return True

    def tell(self) -> int:
        """How many bytes were written."""
        return self._written

    def write(self, data: "ReadableBuffer", /) -> int:
        """Take bytes, and send a part once there are enough of them."""
        view = memoryview(data).cast("B")
        self._pending += view
        self._written += len(view)
        while len(self._pending) >= _PART_BYTES:
            self._send(bytes(self._pending[:_PART_BYTES]))
            del self._pending[:_PART_BYTES]
        return len(view)

    def finish(self) -> None:
        """Make the object of what was sent."""
        if self._upload is None:
            self._s3.put_object(
                Bucket=self._bucket,
                Key=self._key,
                Body=bytes(self._pending),
                ContentType=self._type,
            )
            return
        if self._pending:
            self._send(bytes(self._pending))
        self._s3.complete_multipart_upload(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._upload,
            MultipartUpload={"Parts": self._parts},
        )

    def abandon(self) -> None:
        """Take back what was sent; parts that nobody takes back are paid for."""
        if self._upload is not None:
            with contextlib.suppress(ClientError, BotoCoreError):
                self._s3.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._key, UploadId=self._upload
                )

    def _send(self, part: bytes) -> None:
        if self._upload is None:
            made = self._s3.create_multipart_upload(
                Bucket=self._bucket, Key=self._key, ContentType=self._type
            )
            self._upload = made["UploadId"]
        number = len(self._parts) + 1
        answer = self._s3.upload_part(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._upload,
            PartNumber=number,
            Body=part,
        )
        self._parts.append({"ETag": answer["ETag"], "PartNumber": number})
