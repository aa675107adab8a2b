"""AWS and Prefect as far as the engine reaches them, served on this machine."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.testing.utilities import prefect_test_harness

from ittybatch.ledger import Ledger
from tests.engine.scene import Scene

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """URL of a server that speaks S3 and DynamoDB."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment in which every AWS client finds that server, and nothing else."""
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_url)


@pytest.fixture
def s3(aws: None) -> "Iterator[S3Client]":
    """A client of it."""
    del aws
    client = boto3.client("s3")
    yield client
    client.close()


@pytest.fixture
def bucket(s3: "S3Client") -> str:
    """An empty bucket of the test's own."""
    name = f"reports-{uuid4()}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def table(aws: None) -> "Iterator[Table]":
    """An empty table of the test's own, as the AWS guide makes it."""
    del aws
    dynamodb = boto3.resource("dynamodb")
    made = dynamodb.create_table(
        TableName=f"results-{uuid4()}",
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    yield made
    dynamodb.meta.client.close()


@pytest.fixture(scope="module")
def prefect() -> Iterator[SyncPrefectClient]:
    """A real server with the deployments that make runs, and no worker for them."""

    @flow(name="process-chunk")
    def chunk_flow(chunk_id: int) -> None:
        del chunk_id

    @flow(name="run-batch")
    def batch_flow(source: dict[str, str], profile: str, options: dict[str, str]) -> None:
        del source, profile, options

    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="ittybatch", type="process"))
        client.create_deployment(
            flow_id=client.create_flow(chunk_flow),
            name="process-chunk",
            work_pool_name="ittybatch",
            entrypoint="ittybatch.flows.process_chunk.process_chunk",
        )
        client.create_deployment(
            flow_id=client.create_flow(batch_flow),
            name="adhoc",
            work_pool_name="ittybatch",
            entrypoint="ittybatch.flows.run_batch.run_batch",
        )
        yield client


@pytest.fixture
def scene(ledger: Ledger, prefect: SyncPrefectClient) -> Scene:
    return Scene(ledger, prefect)
