"""What `doctor` finds about intake.yaml, its queues and its buckets."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from ittybatch.engine.finding import Finding, Grade
from ittybatch.intake.checking import check_intake
from ittybatch.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

WEB = "renditions: [{name: small, kind: video, options: {width: 640}}]"
TOKEN = "0123456789abcdef"


@pytest.fixture
def s3(aws: str) -> "S3Client":
    """A client of S3, with the bucket `media`, which sends no events."""
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=aws)
    client.create_bucket(Bucket="media")
    client.put_bucket_notification_configuration(Bucket="media", NotificationConfiguration={})
    return client


def findings(folder: Path, text: str, **changes: Any) -> list[Finding]:  # noqa: ANN401
    profiles = folder / "profiles"
    profiles.mkdir()
    (profiles / "web.yaml").write_text(WEB)
    path = folder / "intake.yaml"
    path.write_text(text)
    given: dict[str, Any] = {"api_token": TOKEN, **changes}
    return list(check_intake(Settings(intake_file=path, profiles_dir=profiles, **given)))


def grades(found: list[Finding]) -> list[tuple[str, Grade]]:
    return [(each.check, each.grade) for each in found]


def test_nothing_declared_is_fine(tmp_path: Path) -> None:
    [found] = findings(tmp_path, "# nothing\n", api_token=None)
    assert (found.grade, found.remedy) == (Grade.OK, "")


def test_a_mistake_is_shown_with_its_line(tmp_path: Path) -> None:
    """As the receiver shows it, which does not start with it."""
    [found] = findings(tmp_path, "tables:\n  - {table: jobs, profile: wob}\n")
    assert found.grade is Grade.BROKEN
    assert "line 2, tables[0].profile: there is no profile 'wob'" in found.what


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tables: [{table: jobs, profile: web}]", "no database webhook is accepted"),
        ("uploads: {bucket: media, profile: web}", "nobody can upload"),
    ],
)
@pytest.mark.usefixtures("aws")
def test_what_nobody_can_reach_is_said(tmp_path: Path, text: str, why: str) -> None:
    _, found, *_ = findings(tmp_path, text, api_token=None)
    assert (found.grade, found.what) == (Grade.WARNING, f"The API is off, so {why}.")


def test_a_bucket_that_sends_no_events_is_found(tmp_path: Path, s3: "S3Client") -> None:
    """With the command of Ittybit's guide that changes it."""
    del s3
    *_, found = findings(tmp_path, "buckets: [{bucket: media, profile: web}]")
    assert found.grade is Grade.WARNING
    assert "aws s3api put-bucket-notification-configuration --bucket media" in found.remedy


def test_a_bucket_that_sends_events_and_a_queue_with_room_aside(
    tmp_path: Path, s3: "S3Client", sqs: "SQSClient", queue_url: str, aside_url: str
) -> None:
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]
    notified = {"QueueArn": arn["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket="media",
        NotificationConfiguration={"QueueConfigurations": [notified]},  # type: ignore[list-item]
    )
    sqs.purge_queue(QueueUrl=queue_url)
    text = f"""buckets: [{{bucket: media, profile: web}}]
queues: [{{queue_url: "{queue_url}", dead_letter_url: "{aside_url}"}}]
"""
    found = findings(tmp_path, text)
    assert grades(found) == [
        ("Intake", Grade.OK),
        ("Queue", Grade.OK),
        ("Bucket's events", Grade.OK),
    ]
    assert found[0].what.endswith("intake.yaml declares 1 folder, 1 watched queue.")
    assert found[1].what == f"{queue_url} can be reached; no message waits."


def test_a_bucket_that_does_not_exist(tmp_path: Path, aws: str) -> None:
    del aws
    *_, found = findings(tmp_path, "buckets: [{bucket: no-such-bucket, profile: web}]")
    assert (found.check, found.grade) == ("Bucket's events", Grade.BROKEN)


def queue_finding(folder: Path, url: str) -> Finding:
    text = f'buckets: [{{bucket: media, profile: web}}]\nqueues: [{{queue_url: "{url}"}}]\n'
    [found] = [each for each in findings(folder, text) if each.check == "Queue"]
    return found


def test_a_queue_that_does_not_exist(tmp_path: Path, queue_url: str) -> None:
    found = queue_finding(tmp_path, f"{queue_url}-x")
    assert found.grade is Grade.BROKEN
    assert found.remedy == "Check the queue's URL, also its region and account."


def test_a_queue_whose_unreadable_messages_have_nowhere_to_go(
    tmp_path: Path, queue_url: str
) -> None:
    found = queue_finding(tmp_path, queue_url)
    assert found.grade is Grade.WARNING
    assert "dead_letter_url" in found.remedy


def test_a_queue_that_receives_its_own_dead_letters(
    tmp_path: Path, sqs: "SQSClient", queue_url: str
) -> None:
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]
    policy = json.dumps({"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": 3})
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"RedrivePolicy": policy})
    assert queue_finding(tmp_path, queue_url).grade is Grade.BROKEN
