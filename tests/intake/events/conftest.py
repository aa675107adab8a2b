"""A real SQS and S3 server, and queues on it."""

import os
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """URL of a server of S3 and SQS."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, with an environment in which the product finds it."""
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_url)
    return aws_url


@pytest.fixture
def sqs(aws: str) -> "Iterator[SQSClient]":
    """A client of SQS."""
    client = boto3.client("sqs", region_name="us-east-1", endpoint_url=aws)
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
