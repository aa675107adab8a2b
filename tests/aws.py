"""S3, SQS and DynamoDB on this machine, one server for all tests of a process."""

import os
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

REGION = "us-east-1"


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """The server's URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, with an environment in which every client finds that server and nothing else."""
    for name, value in _environment(aws_url).items():
        monkeypatch.setenv(name, value)
    return aws_url


@pytest.fixture
def aws_region(monkeypatch: pytest.MonkeyPatch) -> str:
    """A region in the environment, without which DynamoDB has no address."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    return REGION


def _environment(url: str) -> dict[str, str]:
    """The variables that lead every client to a server, and to no file of the machine's user."""
    return {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_ENDPOINT_URL": url,
    }


@pytest.fixture
def s3(aws: str) -> "Iterator[S3Client]":
    """A client of S3."""
    client = boto3.client("s3", region_name=REGION, endpoint_url=aws)
    yield client
    client.close()


@pytest.fixture(scope="module")
def modules_s3(aws_url: str) -> "Iterator[S3Client]":
    """A client for all tests of a module, in an environment in which the product finds S3."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _environment(aws_url).items():
            patch.setenv(name, value)
        client = boto3.client("s3", region_name=REGION)
        yield client
        client.close()
    # Another module may give its bucket the same name.
    httpx.post(f"{aws_url}/moto-api/reset").raise_for_status()


@pytest.fixture
def bucket(s3: "S3Client") -> str:
    """An empty bucket of the test's own."""
    name = f"test-{uuid.uuid4()}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def sqs(aws: str) -> "Iterator[SQSClient]":
    """A client of SQS."""
    client = boto3.client("sqs", region_name=REGION, endpoint_url=aws)
    yield client
    client.close()


@pytest.fixture
def queue_url(sqs: "SQSClient") -> str:
    """An empty queue of the test's own."""
    return sqs.create_queue(QueueName=f"uploads-{uuid.uuid4()}")["QueueUrl"]


@pytest.fixture
def aside_url(sqs: "SQSClient") -> str:
    """An empty queue for what cannot be read."""
    return sqs.create_queue(QueueName=f"aside-{uuid.uuid4()}")["QueueUrl"]


@pytest.fixture
def table(aws: str, aws_region: str) -> "Iterator[Table]":
    """An empty table of the test's own, as the AWS guide makes it."""
    del aws, aws_region
    made = create_table("pk", "sk")
    yield made
    made.meta.client.close()


def create_table(*keys: str) -> "Table":
    """A table with these string keys."""
    kinds = ("HASH", "RANGE")
    return boto3.resource("dynamodb").create_table(
        TableName=f"results-{uuid.uuid4()}",
        KeySchema=[
            {"AttributeName": key, "KeyType": kind}  # type: ignore[typeddict-item]
            for key, kind in zip(keys, kinds, strict=True)
        ],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )
