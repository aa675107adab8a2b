"""A real S3 server, a bucket, and the API of uploads over it."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ittybatch.intake.declared import UploadsDeclared
from tests.intake.uploads.serving import PAGE, Api, serving

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="session")
def store_url() -> Iterator[str]:
    """URL of an S3 server that lives as long as the tests do."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(store_url: str, monkeypatch: pytest.MonkeyPatch) -> "Iterator[S3Client]":
    """A client; the environment leads the product to the same server."""
    for name, value in {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_ENDPOINT_URL": store_url,
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", region_name="us-east-1")
    yield client
    client.close()


@pytest.fixture
def bucket(s3: "S3Client") -> str:
    """An empty bucket of the test's own."""
    name = f"uploads-{uuid4()}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def declared(bucket: str) -> UploadsDeclared:
    """Uploads to the bucket."""
    return UploadsDeclared(bucket=bucket, profile="web", allowed_origins=(PAGE,))


@pytest.fixture
def api(declared: UploadsDeclared) -> Iterator[Api]:
    """The API over the bucket."""
    with serving(declared) as running:
        yield running
