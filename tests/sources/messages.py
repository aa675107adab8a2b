"""Messages of a queue of events, and queues that are drained of them."""

import json
from typing import TYPE_CHECKING, Any

from ittybatch.sources import Page, QueueSource, read_pages

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


def record(key: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any property
    """As S3 itself notifies, the key encoded already."""
    return {
        "eventSource": "aws:s3",
        "eventTime": "2026-01-02T03:04:05.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "bucket": {"name": "media"},
            "object": {"key": key, "size": 5, "eTag": "e1", "sequencer": "0A", **more},
        },
    }


def s3_event(*records: dict[str, Any]) -> str:
    return json.dumps({"Records": records})


def bridge_event(key: str, kind: object = "Object Created") -> str:
    found = {"key": key, "size": 5, "etag": "e1", "version-id": "v1", "sequencer": "0A"}
    return json.dumps(
        {
            "version": "0",
            "source": "aws.s3",
            "detail-type": kind,
            "time": "2026-01-02T03:04:05Z",
            "detail": {"bucket": {"name": "media"}, "object": found, "reason": "PutObject"},
        }
    )


def through_sns(body: str) -> str:
    return json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:x", "Message": body})


def send(sqs: "SQSClient", url: str, *bodies: str) -> None:
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body)


def waiting(sqs: "SQSClient", url: str) -> int:
    """Messages in a queue, seen or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]  # type: ignore[arg-type]
    return sum(map(int, found.values()))


def source(url: str, **more: Any) -> QueueSource:  # noqa: ANN401 - any field
    return QueueSource.model_validate({"queue_url": url, "uri": "s3://media/in/", **more})


def drained(found: QueueSource, page_size: int = 1000) -> list[Page]:
    pages = []
    for page in read_pages(found, page_size=page_size):
        assert page.acknowledge is not None
        page.acknowledge()
        pages.append(page)
    return pages


def keys_of(pages: list[Page]) -> list[str]:
    return [item.key for page in pages for item in page.items]
