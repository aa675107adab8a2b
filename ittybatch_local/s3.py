"""Copies a folder of media into the local S3."""

import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ittybatch_local.errors import StackError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OWNED = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


@dataclass(frozen=True)
class Uploaded:
    """The files that an upload copied."""

    count: int
    size_bytes: int


def upload(
    folder: Path, bucket: str, prefix: str = "", *, environment: Mapping[str, str]
) -> Uploaded:
    """Copy every file below a folder to `s3://bucket/prefix`; create the bucket if it is missing.

    Args:
        folder: The folder to copy, without names that begin with a dot.
        bucket: The bucket's name.
        prefix: The prefix of the keys.
        environment: The stack's environment, with the endpoint to write to.

    Raises:
        StackError: The folder or the local S3 does not exist, or the S3 refuses the files.
    """
    if not folder.is_dir():
        raise StackError(f"There is no folder {folder} to upload.")
    client = _client(environment)
    count = size_bytes = 0
    try:
        _create_bucket(client, bucket)
        for path in _files(folder):
            key = f"{prefix.strip('/')}/{path.relative_to(folder).as_posix()}".lstrip("/")
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            client.upload_file(str(path), bucket, key, ExtraArgs={"ContentType": kind})
            count += 1
            size_bytes += path.stat().st_size
    except (BotoCoreError, ClientError) as error:
        raise StackError(f"The local S3 refused {folder} in {bucket!r}: {error}") from error
    return Uploaded(count, size_bytes)


def create_uploads_bucket(
    bucket: str, *, origins: Sequence[str], environment: Mapping[str, str]
) -> None:
    """Create the bucket of browser uploads in the local S3, configured as `doctor` asks for it.

    Args:
        bucket: The bucket's name.
        origins: The web pages that may upload.
        environment: The stack's environment, with the endpoint to write to.

    Raises:
        StackError: The local S3 does not exist, or refuses it.
    """
    try:
        client = _client(environment)
        _create_bucket(client, bucket)
        client.put_bucket_cors(
            Bucket=bucket,
            CORSConfiguration={
                "CORSRules": [
                    {
                        "AllowedOrigins": list(origins),
                        "AllowedMethods": ["PUT"],
                        "AllowedHeaders": ["*"],
                        "ExposeHeaders": ["ETag"],
                    }
                ]
            },
        )
        client.put_bucket_lifecycle_configuration(
            Bucket=bucket,
            LifecycleConfiguration={
                "Rules": [
                    {
                        "ID": "abort-incomplete-uploads",
                        "Status": "Enabled",
                        "Filter": {"Prefix": ""},
                        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                    }
                ]
            },
        )
    except (BotoCoreError, ClientError) as error:
        raise StackError(f"The local S3 refused the bucket {bucket!r}: {error}") from error


def _client(environment: Mapping[str, str]) -> "S3Client":
    endpoint = environment.get("AWS_ENDPOINT_URL")
    if not endpoint:
        raise StackError(
            "This stack has no local S3 to upload to.",
            remedy="Start it with a local S3, or copy the files to your own bucket.",
        )
    # A new session: a profile in the user's environment would override these keys.
    session = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    return session.client("s3", endpoint_url=endpoint)


def _create_bucket(client: "S3Client", bucket: str) -> None:
    try:
        client.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in OWNED:
            raise


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not is_hidden:
            yield path
