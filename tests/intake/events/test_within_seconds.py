"""From an object in a bucket to a job at Ittybit: a real receiver, queue, bucket and sandbox."""

import json
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from sqlalchemy import select

from ittybatch.ledger import Ledger
from ittybatch.ledger.models import Item, Job
from ittybatch.sources import BucketSource, read_pages
from tests.receiver.harness import Running as Receiver
from tests.receiver.harness import running as run_receiver
from tests.receiver.harness import wait_until
from tests.sandbox.harness import KEY
from tests.sandbox.harness import Running as Sandbox
from tests.sandbox.harness import running as run_sandbox
from tests.sources.messages import bridge_event, record, s3_event, waiting

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

logger = logging.getLogger(__name__)

TOKEN = "0123456789abcdef"
AUTH = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
PROFILE = """
renditions:
  - {name: small, kind: video, options: {format: mp4, width: 640}, when: {suffix: [.mov]}}
"""


# One database is enough for a figure.
measures = pytest.mark.parametrize("ledger_url", ["postgres"], indirect=True)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(instant=True) as started:
        yield started


@pytest.fixture
def s3(aws: str, sqs: "SQSClient", queue_url: str) -> "S3Client":
    """A client of S3, whose bucket `media` sends its events to the queue."""
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=aws)
    client.create_bucket(Bucket="media")
    for each in client.list_objects_v2(Bucket="media").get("Contents", []):
        client.delete_object(Bucket="media", Key=each["Key"])
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]
    notified = {"QueueArn": arn["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
    client.put_bucket_notification_configuration(
        Bucket="media",
        NotificationConfiguration={"QueueConfigurations": [notified]},  # type: ignore[list-item]
    )
    return client


@pytest.fixture
def receiver(
    tmp_path: Path, ledger_url: str, sandbox: Sandbox, aws: str, queue_url: str
) -> Iterator[Receiver]:
    """A receiver that watches the queue and takes events."""
    del aws
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "web.yaml").write_text(PROFILE)
    intake = tmp_path / "intake.yaml"
    intake.write_text(f"""
buckets: [{{bucket: media, prefix: in/, profile: web}}]
tables: [{{table: jobs, tasks: [{{kind: video, options: {{width: 1280}}}}]}}]
queues: [{{queue_url: "{queue_url}"}}]
""")
    with run_receiver(
        ledger_url,
        api_token=TOKEN,
        intake_file=intake,
        profiles_dir=profiles,
        ITTYBIT_API_URL=sandbox.url,
        ITTYBIT_API_KEY=KEY,
        home=tmp_path / "home",
    ) as started:
        yield started


def post(receiver: Receiver, body: str | dict[str, Any]) -> httpx.Response:
    content = body if isinstance(body, str) else json.dumps(body)
    return httpx.post(
        f"{receiver.url}/process", content=content, headers=AUTH, timeout=20, trust_env=False
    )


def inputs(sandbox: Sandbox) -> list[str]:
    return [str(each["input"]) for each in sandbox.all_jobs()]


def seconds(start: Callable[[str], object], sandbox: Sandbox, count: int = 50) -> list[float]:
    """How long objects take until the sandbox has accepted their jobs, one after another."""
    found = []
    for number in range(count):
        key = f"in/{number}.mov"
        began = time.monotonic()
        start(key)
        wait_until(lambda key=key: f"s3://media/{key}" in inputs(sandbox))  # type: ignore[misc]
        found.append(time.monotonic() - began)
    logger.info("median %.3f s, most %.3f s", statistics.median(found), max(found))
    return found


@measures
@pytest.mark.usefixtures("receiver")
def test_an_object_is_accepted_within_three_seconds_through_a_queue(
    sandbox: Sandbox, s3: "S3Client", sqs: "SQSClient", queue_url: str
) -> None:
    """Median of 50, from the start of the upload on; every message is deleted, every job once."""
    measured = seconds(lambda key: s3.put_object(Bucket="media", Key=key, Body=b"12345"), sandbox)
    assert statistics.median(measured) < 3
    wait_until(lambda: waiting(sqs, queue_url) == 0)
    assert len(inputs(sandbox)) == 50


@measures
def test_an_object_is_accepted_within_a_second_through_a_posted_event(
    receiver: Receiver, sandbox: Sandbox
) -> None:
    """Median of 50, from the event on."""
    measured = seconds(lambda key: post(receiver, bridge_event(key)), sandbox)
    assert statistics.median(measured) < 1
    assert len(inputs(sandbox)) == 50


def test_an_object_is_one_item_whoever_sees_it_first(
    receiver: Receiver, sandbox: Sandbox, s3: "S3Client", ledger: Ledger
) -> None:
    """A queue, a posted event of either form, and a scan: one item, one job."""
    s3.put_object(Bucket="media", Key="in/a b.mov", Body=b"12345")
    wait_until(lambda: inputs(sandbox) == ["s3://media/in/a b.mov"])
    [listed] = next(read_pages(BucketSource(uri="s3://media/in/"))).items
    posted = [
        post(receiver, s3_event(record("in/a+b.mov", eTag=listed.fingerprint))),
        post(receiver, bridge_event("in/a b.mov").replace('"e1"', f'"{listed.fingerprint}"')),
    ]
    assert [each.status_code for each in posted] == [202, 202]
    rows = ledger.read(lambda tx: tx.rows(select(Item.uri, Item.fingerprint)))
    assert {tuple(row) for row in rows} == {(listed.uri, listed.fingerprint)}
    assert len(ledger.read(lambda tx: tx.rows(select(Job.id)))) == 1
    assert len(inputs(sandbox)) == 1


def test_the_metadata_of_the_guides_arrives_at_ittybit(
    receiver: Receiver, sandbox: Sandbox
) -> None:
    post(receiver, bridge_event("in/a.mov"))
    row = {"id": "row-1", "input_url": "https://example.com/uploads/video.mp4"}
    answer = post(receiver, {"type": "INSERT", "table": "jobs", "schema": "public", "record": row})
    assert answer.status_code == 202
    wait_until(lambda: len(inputs(sandbox)) == 2)
    metadata = {str(each["input"]): each["metadata"] for each in sandbox.all_jobs()}
    of_object = metadata["s3://media/in/a.mov"]
    assert (of_object["source_bucket"], of_object["source_key"]) == ("media", "in/a.mov")
    assert metadata["https://example.com/uploads/video.mp4"]["job_id"] == "row-1"


def test_an_event_that_asks_for_nothing_is_answered_with_200(
    receiver: Receiver, sandbox: Sandbox
) -> None:
    """Its sender must not repeat it; what left it out is in the answer."""
    answers = [
        post(receiver, body)
        for body in (
            bridge_event("elsewhere/a.mov"),
            bridge_event("in/.DS_Store"),
            bridge_event("in/a.mp3"),
            bridge_event("in/a.mov", "Object Deleted"),
            '{"Service": "Amazon S3", "Event": "s3:TestEvent"}',
        )
    ]
    assert [(each.status_code, each.json()["left_out"]) for each in answers] == [
        (200, {"undeclared": 1}),
        (200, {"hidden": 1}),
        (200, {"without_rendition": 1}),
        (200, {"other event": 1}),
        (200, {"test event": 1}),
    ]
    assert inputs(sandbox) == []


def test_a_row_may_not_name_an_address_of_a_private_network(
    receiver: Receiver, sandbox: Sandbox
) -> None:
    """Anybody may be able to write rows."""
    row = {"id": "row-1", "input_url": "http://169.254.169.254/latest/meta-data/"}
    answer = post(receiver, {"type": "INSERT", "table": "jobs", "schema": "public", "record": row})
    assert (answer.status_code, answer.json()["field"]) == (422, "url")
    assert inputs(sandbox) == []


def test_a_profile_that_changes_later_cannot_start_a_loop(
    receiver: Receiver, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Profiles are read again while the receiver runs, so the check at its start is not enough."""
    (tmp_path / "profiles" / "web.yaml").write_text(
        PROFILE.replace("name: small", 'name: small, destination: "s3://media/in/out/{key}.mov"')
    )
    answer = post(receiver, bridge_event("in/a.mov"))
    assert (answer.status_code, answer.json()["field"]) == (422, "profile")
    assert "s3://media/in/out/in/a.mov.mov" in answer.json()["error"]
    assert inputs(sandbox) == []
