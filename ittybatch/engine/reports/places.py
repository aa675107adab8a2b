"""Write reports to files and S3 objects, atomically."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from ittybatch.errors import IttybatchError
from ittybatch.home import private_folder
from ittybatch.sources.s3 import SCHEME, failure, s3_client, split_uri

# S3 allows 10,000 parts, so reports can reach 160 GB.
_PART_BYTES = 16 * 1024 * 1024
TRANSFER = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)
# Larger reports are buffered in a temporary file until they are complete.
_IN_MEMORY_BYTES = _PART_BYTES
CONTENT_TYPES = {
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".svg": "image/svg+xml",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class NotWritten(IttybatchError):
    """A report could not be written. No partial file remains."""


@contextlib.contextmanager
def whole(place: str) -> Iterator[IO[bytes]]:
    """Write a file or an object atomically: it appears only once it is complete.

    Args:
        place: A path, or `s3://bucket/key`.

    Raises:
        NotWritten: The file or object could not be written.
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
    """Create the folder for a batch's files. Only the current user can read it.

    Raises:
        ConfigurationError: The folder cannot be created.
    """
    return private_folder(home / "batches" / batch)


def within(folder: str, name: str) -> str:
    """Join a folder or an S3 prefix with a name."""
    return f"{folder.rstrip('/')}/{name}" if folder.startswith(SCHEME) else str(Path(folder) / name)


@contextlib.contextmanager
def _file(path: Path) -> Iterator[IO[bytes]]:
    if not path.name:
        raise NotWritten(
            f"The report cannot be written to {str(path)!r}, which names no file.",
            remedy="Write the path of a file, or s3://bucket/key.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two legs may write the same report at once. Each writes its own temporary file; the last
    # rename wins.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # Whoever can read the folder can read the report.
        mode = 0o666 & path.parent.stat().st_mode
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:  # also after Ctrl-C, remove the partial file
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
    content_type = CONTENT_TYPES.get(Path(key).suffix, "application/octet-stream")
    with (
        tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as stream,
        contextlib.closing(s3_client()) as client,
    ):
        yield stream
        stream.seek(0)
        # boto3 uploads large files in parts. If a part fails, it deletes the parts already sent.
        client.upload_fileobj(
            stream, bucket, key, ExtraArgs={"ContentType": content_type}, Config=TRANSFER
        )
