"""Queues of events: what becomes an item, what is put aside, and when messages are deleted."""

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from pydantic import ValidationError

from ittybatch.sources import BucketSource, Page, QueueSource, SourceError, queue, read_pages
from ittybatch.sources.sqs import Message, SqsQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

Make = dict[str, Any]


@pytest.fixture
def sqs(s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> "Iterator[SQSClient]":
    """A client of the server that has the buckets, too."""
    monkeypatch.setattr(queue, "EMPTY_AFTER_S", 0)
    client = boto3.client("sqs", region_name="us-east-1", endpoint_url=s3.meta.endpoint_url)
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


def bridge_event(key: str, kind: str = "Object Created") -> str:
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


def waiting(sqs: "SQSClient", url: str) -> int:
    """Messages in a queue, seen or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]  # type: ignore[arg-type]
    return sum(map(int, found.values()))


def test_every_form_of_event_becomes_an_item(sqs: "SQSClient", queue_url: str) -> None:
    """With the key as it is: only S3's own events have it encoded."""
    send(
        sqs,
        queue_url,
        s3_event(record("in/a+b%2Bc/%C3%A9.mov"), record("in/two.mov")),
        bridge_event("in/a+b%20c.mov"),
        through_sns(s3_event(record("in/sns.mov"))),
        through_sns(through_sns(bridge_event("in/twice.mov"))),
    )
    (page,) = drained(source(queue_url))
    assert sorted(keys_of([page])) == [
        "in/a b+c/é.mov", "in/a+b%20c.mov", "in/sns.mov", "in/twice.mov", "in/two.mov",
    ]  # fmt: skip
    item = page.items[0]
    assert (item.size_bytes, item.fingerprint) == (5, "e1")
    assert item.modified_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert waiting(sqs, queue_url) == 0


def test_an_event_is_the_item_that_a_listing_finds(
    sqs: "SQSClient", s3: "S3Client", queue_url: str, bucket: str
) -> None:
    """So that a nightly batch does not pay again for what came through the queue."""
    s3.put_object(Bucket=bucket, Key="in/a.mov", Body=b"12345")
    (listed,) = next(read_pages(BucketSource(uri=f"s3://{bucket}/"))).items
    event = record("in/a.mov", eTag=listed.fingerprint)
    event["s3"]["bucket"]["name"] = bucket
    send(sqs, queue_url, s3_event(event))
    (page,) = drained(source(queue_url, uri=f"s3://{bucket}/"))
    assert (page.items[0].uri, page.items[0].fingerprint) == (listed.uri, listed.fingerprint)


def test_versions_tell_objects_apart_where_that_is_asked_for(
    sqs: "SQSClient", queue_url: str
) -> None:
    """And the sequencer does, where an event has nothing else."""
    send(sqs, queue_url, bridge_event("in/a.mov"))
    send(sqs, queue_url, s3_event(record("in/b.mov", versionId="v2")))
    send(sqs, queue_url, s3_event(record("in/c.mov", eTag=None)))
    (page,) = drained(source(queue_url, versioned=True))
    marks = {item.key: item.fingerprint for item in page.items}
    assert marks == {"in/a.mov": "v1", "in/b.mov": "v2", "in/c.mov": "0A"}


def test_of_several_events_of_an_object_the_newest_counts(sqs: "SQSClient", queue_url: str) -> None:
    """The others tell of what is no longer there. Events come in any order."""
    for etag, sequencer in (("old", "0055"), ("new", "00560"), ("older", "0054FF")):
        send(sqs, queue_url, s3_event(record("in/a.mov", eTag=etag, sequencer=sequencer)))
    (page,) = drained(source(queue_url))
    assert [item.fingerprint for item in page.items] == ["new"]
    assert page.filtered == {"newer event": 2}


def test_what_is_not_wanted_is_counted_and_deleted(sqs: "SQSClient", queue_url: str) -> None:
    """S3's own test event, removals, other folders and buckets, what the filters leave out."""
    elsewhere = record("in/x.mov")
    elsewhere["s3"]["bucket"]["name"] = "other"
    send(
        sqs,
        queue_url,
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "media"}),
        s3_event({**record("in/gone.mov"), "eventName": "ObjectRemoved:Delete"}),
        bridge_event("in/gone.mov", "Object Deleted"),
        s3_event(record("out/a.mov"), elsewhere),
        s3_event(record("out/ctl%01.mov")),
        s3_event(record("in/a.txt"), record("in/folder/", size=0), record("in/a.mov")),
    )
    (page,) = drained(source(queue_url, suffixes=[".mov"]))
    assert keys_of([page]) == ["in/a.mov"]
    assert page.filtered == {
        "test event": 1, "other event": 2, "prefix": 3, "empty": 1, "suffix": 1,
    }  # fmt: skip
    assert page.rejects == []
    assert waiting(sqs, queue_url) == 0


BAD = [
    "nonsense", "[]", "{}", '{"Records": [{}]}', '{"Records": [7]}',
    s3_event({**record("in/a.mov"), "s3": {"bucket": {"name": "media"}, "object": {}}}),
    s3_event(record("in/%FF.mov")), s3_event(record("in/a.mov", size="many")),
    s3_event(record("in/ctl%01.mov")), bridge_event("in/ctl\u2028.mov"),
    s3_event(record("in/a.mov"), record("in/ctl%0A.mov")),
]  # fmt: skip


def test_what_cannot_be_read_is_put_aside_with_its_reason(
    sqs: "SQSClient", queue_url: str, aside_url: str
) -> None:
    """Word for word; the rest goes on."""
    send(sqs, queue_url, *BAD, s3_event(record("in/a.mov")))
    (page,) = drained(source(queue_url, dead_letter_url=aside_url))
    assert keys_of([page]) == ["in/a.mov"]
    assert {each.field for each in page.rejects} == {"message"}
    assert len(page.rejects) == len(BAD)
    assert waiting(sqs, queue_url) == 0
    kept = []
    while found := sqs.receive_message(
        QueueUrl=aside_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages"):
        kept += found
    assert sorted(each["Body"] for each in kept) == sorted(BAD)
    assert all(each["MessageAttributes"]["reason"]["StringValue"] for each in kept)


def test_without_a_place_for_it_what_cannot_be_read_stays(sqs: "SQSClient", queue_url: str) -> None:
    """The queue's own redrive policy counts how often it was received."""
    send(sqs, queue_url, "nonsense", s3_event(record("in/a.mov")))
    (page,) = drained(source(queue_url))
    assert len(page.rejects) == 1
    assert waiting(sqs, queue_url) == 1
    (page,) = drained(source(queue_url))
    assert (page.items, len(page.rejects)) == ([], 1)


def test_messages_are_deleted_only_when_the_page_is_committed(
    sqs: "SQSClient", queue_url: str
) -> None:
    """Looking takes nothing; a stop gives everything back."""
    send(sqs, queue_url, *(s3_event(record(f"in/{number}.mov")) for number in range(30)))
    assert len(keys_of(list(read_pages(source(queue_url), page_size=10)))) == 30
    pages = read_pages(source(queue_url), page_size=10)
    first, second = next(pages), next(pages)
    assert first.acknowledge is not None
    first.acknowledge()
    pages.close()  # type: ignore[attr-defined]
    assert waiting(sqs, queue_url) == 20
    left = drained(source(queue_url), page_size=10)
    assert not set(keys_of([first])) & set(keys_of(left))
    assert set(keys_of([second])) <= set(keys_of(left))
    assert waiting(sqs, queue_url) == 0


def test_a_batch_takes_no_more_than_it_may(sqs: "SQSClient", queue_url: str) -> None:
    """The rest is the next one's."""
    send(sqs, queue_url, *(s3_event(record(f"in/{number}.mov")) for number in range(25)))
    assert len(keys_of(drained(source(queue_url, max_messages=13)))) == 13
    assert waiting(sqs, queue_url) == 12


def test_a_message_that_comes_twice_at_once_is_one(
    sqs: "SQSClient", queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several look at the same time, and a queue promises only that each comes at least once."""
    receive = SqsQueue.receive

    def twice(self: SqsQueue, limit: int, wait_s: int) -> list[Message]:
        return [each for each in receive(self, (limit + 1) // 2, wait_s) for _ in range(2)]

    monkeypatch.setattr(SqsQueue, "receive", twice)
    send(sqs, queue_url, *(s3_event(record(f"in/{number}.mov")) for number in range(25)))
    pages = drained(source(queue_url, max_messages=13))
    assert len(keys_of(pages)) == 13
    assert [page.filtered for page in pages if page.filtered] == []
    assert waiting(sqs, queue_url) == 12


def test_a_queue_that_cannot_be_read_says_why(sqs: "SQSClient", queue_url: str) -> None:
    """An empty one just has no page."""
    assert drained(source(queue_url)) == []
    sqs.delete_queue(QueueUrl=queue_url)
    with pytest.raises(SourceError, match=r"cannot be read: .*Check the queue's URL"):
        drained(source(queue_url))


@pytest.mark.parametrize(
    "fields",
    [
        {"queue_url": "uploads"},
        {"queue_url": "http://192.0.2.1/1/uploads"},
        {"queue_url": "https://sqs.eu-west-1.amazonaws.com/"},
        {"dead_letter_url": "https://u:p@sqs.eu-west-1.amazonaws.com/1/aside"},
        {"uri": "media/in"},
        {"max_messages": 0},
        {"max_time": "0s"},
    ],
)
def test_an_impossible_queue_is_refused(fields: dict[str, Any]) -> None:
    """In the form, before anything runs."""
    with pytest.raises(ValidationError):
        QueueSource.model_validate(
            {"queue_url": "https://sqs.eu-west-1.amazonaws.com/1/q", "uri": "s3://m/in/", **fields}
        )
    assert QueueSource.model_validate(
        {"queue_url": "https://sqs.eu-west-1.amazonaws.com/1/q", "uri": "s3://media/in"}
    )
