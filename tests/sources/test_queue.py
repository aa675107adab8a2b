"""Queues of events: what becomes an item, what is put aside, and when messages are deleted."""

import itertools
import json
import threading
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from pydantic import ValidationError

from ittybatch.sources import BucketSource, Page, QueueSource, SourceError, queue, read_pages
from ittybatch.sources.sqs import Message, SqsQueue, same_queue

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


def test_what_nobody_wants_is_counted_and_deleted(sqs: "SQSClient", queue_url: str) -> None:
    """S3's own test event, removals, litter."""
    send(
        sqs,
        queue_url,
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "media"}),
        s3_event({**record("in/gone.mov"), "eventName": "ObjectRemoved:Delete"}),
        bridge_event("in/gone.mov", "Object Deleted"),
        s3_event(record("in/._a.mov"), record("in/folder/", size=0), record("in/a.mov")),
        s3_event(record("in/hls/seg_1.ts"), record("in/none.mov", size=0)),
    )
    (page,) = drained(source(queue_url, suffixes=[".mov"]))
    assert keys_of([page]) == ["in/a.mov"]
    assert page.filtered == {
        "test event": 1, "other event": 2, "folders": 1, "hidden": 1, "segments": 1, "empty": 1,
    }  # fmt: skip
    assert page.rejects == []
    assert waiting(sqs, queue_url) == 0


def in_other_places() -> list[str]:
    elsewhere = record("in/x.mov")
    elsewhere["s3"]["bucket"]["name"] = "other"
    return [
        s3_event(record("out/a.mov")),
        s3_event(elsewhere),
        s3_event(record("out/ctl%01.mov")),
        s3_event(record("in/b.mov"), record("out/b.mov")),
    ]


@pytest.mark.parametrize("with_aside", [True, False])
def test_messages_about_other_folders_stay_in_the_queue(
    sqs: "SQSClient",
    queue_url: str,
    aside_url: str,
    with_aside: bool,
) -> None:
    """Another deployment may drain them, and a mistake in the folder's name deletes nothing."""
    send(sqs, queue_url, *in_other_places(), s3_event(record("in/a.mov")))
    more = {"dead_letter_url": aside_url} if with_aside else {}
    pages = drained(source(queue_url, **more))
    assert sorted(keys_of(pages)) == ["in/a.mov", "in/b.mov"]
    assert pages[0].filtered == {"prefix": 4}
    assert waiting(sqs, queue_url) == 4
    assert waiting(sqs, aside_url) == 0
    other = drained(source(queue_url, uri="s3://media/out/"))
    assert sorted(keys_of(other)) == ["out/a.mov", "out/b.mov"]


def test_what_stays_takes_no_place_of_what_is_wanted(sqs: "SQSClient", queue_url: str) -> None:
    """A limit counts messages that were dealt with."""
    send(sqs, queue_url, *(s3_event(record(f"out/{number}.mov")) for number in range(20)))
    send(sqs, queue_url, *(s3_event(record(f"in/{number}.mov")) for number in range(5)))
    assert len(keys_of(drained(source(queue_url, max_messages=5), page_size=4))) == 5


@pytest.mark.parametrize(
    "mistake", [{"suffixes": [".mvo"]}, {"glob": "*.MOV"}, {"exclude": "*"}, {"min_size": "1TB"}]
)
def test_a_mistake_in_a_filter_deletes_nothing(
    sqs: "SQSClient", queue_url: str, aside_url: str, mistake: Make
) -> None:
    """What it leaves out stays, or is put aside with the filter's name."""
    send(sqs, queue_url, s3_event(record("in/a.mov")))
    (page,) = drained(source(queue_url, **mistake))
    assert (page.items, sum(page.filtered.values())) == ([], 1)
    assert waiting(sqs, queue_url) == 1
    drained(source(queue_url, dead_letter_url=aside_url, **mistake))
    assert waiting(sqs, queue_url) == 0
    (kept,) = sqs.receive_message(QueueUrl=aside_url, MessageAttributeNames=["All"])["Messages"]
    reason = kept["MessageAttributes"]["reason"]["StringValue"]
    assert reason.startswith("is left out by `")


def removed(key: str, sequencer: str, kind: str = "Delete", **more: Any) -> str:  # noqa: ANN401
    found = record(key, sequencer=sequencer, eTag=None, size=None, **more)
    return s3_event({**found, "eventName": f"ObjectRemoved:{kind}"})


@pytest.mark.parametrize("page_size", [1000, 1])
def test_an_object_that_was_deleted_again_is_taken_back(
    sqs: "SQSClient", queue_url: str, page_size: int
) -> None:
    """In whatever order the two events come; a new object of the same name is made."""
    send(
        sqs,
        queue_url,
        removed("in/first.mov", "0B"),
        s3_event(record("in/first.mov", sequencer="0A")),
        removed("in/marker.mov", "0B", "DeleteMarkerCreated", versionId="m"),
        s3_event(record("in/marker.mov", sequencer="0A", versionId="v1")),
        removed("in/again.mov", "0A"),
        s3_event(record("in/again.mov", sequencer="0B")),
        removed("in/old.mov", "0B", versionId="v0"),
        s3_event(record("in/old.mov", sequencer="0A", versionId="v1")),
    )
    pages = drained(source(queue_url), page_size=page_size)
    assert sorted(keys_of(pages)) == ["in/again.mov", "in/old.mov"]
    assert sum(page.filtered.get("removed again", 0) for page in pages) == 2
    assert waiting(sqs, queue_url) == 0


def test_an_object_that_was_deleted_later_is_taken_back(sqs: "SQSClient", queue_url: str) -> None:
    """Through EventBridge, too."""
    body = json.loads(bridge_event("in/a.mov", "Object Deleted"))
    body["detail"]["object"]["sequencer"] = "0B"
    send(sqs, queue_url, bridge_event("in/a.mov"), json.dumps(body), bridge_event("in/b.mov"))
    (page,) = drained(source(queue_url))
    assert keys_of([page]) == ["in/b.mov"]
    assert page.filtered == {"removed again": 1}


def test_a_restored_object_is_an_item(sqs: "SQSClient", queue_url: str) -> None:
    """It could not be read when it was new."""
    restored = {**record("in/a.mov"), "eventName": "ObjectRestore:Completed"}
    begun = {**record("in/b.mov"), "eventName": "ObjectRestore:Post"}
    bridge = bridge_event("in/c.mov", "Object Restore Completed")
    send(sqs, queue_url, s3_event(restored, begun), bridge)
    (page,) = drained(source(queue_url))
    assert sorted(keys_of([page])) == ["in/a.mov", "in/c.mov"]
    assert page.filtered == {"other event": 1}


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
    with pytest.raises(SourceError, match=r"cannot be looked at: .*Check the queue's URL"):
        drained(source(queue_url))


def test_a_missing_queue_for_the_rest_is_told_before_a_message_is_taken(
    sqs: "SQSClient", queue_url: str, aside_url: str
) -> None:
    """Otherwise the first bad message would hold a batch that has begun."""
    send(sqs, queue_url, "nonsense")
    sqs.delete_queue(QueueUrl=aside_url)
    with pytest.raises(SourceError, match=rf"{aside_url} cannot be looked at"):
        drained(source(queue_url, dead_letter_url=aside_url))
    visible = sqs.get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    assert visible["Attributes"]["ApproximateNumberOfMessages"] == "1"


def test_a_queue_that_would_get_its_messages_back_is_refused(
    sqs: "SQSClient", queue_url: str, aside_url: str
) -> None:
    """They would be read and put back for ever."""
    with pytest.raises(ValidationError, match="dead_letter_url is the queue itself"):
        source(queue_url, dead_letter_url=f"{queue_url}/")
    names: Any = ["QueueArn"]
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"][
        "QueueArn"
    ]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "1"})
    sqs.set_queue_attributes(QueueUrl=aside_url, Attributes={"RedrivePolicy": policy})
    with pytest.raises(SourceError, match=r"gets its own unreadable messages back.*--dead-letter"):
        drained(source(queue_url, dead_letter_url=aside_url))
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"RedrivePolicy": policy})
    with pytest.raises(SourceError, match="gets its own unreadable messages back"):
        drained(source(queue_url))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/1/q", "https://eu-west-1.queue.amazonaws.com/1/q", 1),
        ("https://sqs.eu-west-1.amazonaws.com/1/q", "https://sqs.eu-west-2.amazonaws.com/1/q", 0),
        ("https://queue.example.com/1/q", "https://QUEUE.example.com:443/1/q/", 1),
        ("https://queue.example.com/1/q", "https://queue.example.com/1/p", 0),
    ],
)
def test_a_queue_is_known_by_every_url_that_it_has(one: str, other: str, alike: int) -> None:
    """AWS has several hosts for one."""
    assert same_queue(one, other) is bool(alike)


def test_messages_are_received_by_many_calls_at_once(
    sqs: "SQSClient", queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call gives ten messages at most, and takes as long as the network does."""
    send(sqs, queue_url, *(s3_event(record(f"in/{number}.mov")) for number in range(20)))
    together = threading.Barrier(16, timeout=20)
    calls = itertools.count()
    receive = SqsQueue._receive

    def at_once(self: SqsQueue, limit: int, wait_s: int = 0) -> list[Message]:
        if next(calls) < together.parties:
            together.wait()
        return receive(self, limit, wait_s)

    monkeypatch.setattr(SqsQueue, "_receive", at_once)
    assert len(keys_of(drained(source(queue_url, max_messages=160)))) == 20


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"Records": [{"eventName": "ObjectCreated:Put"}]}', "has no object `s3`"),
        (
            '{"Records": [{"eventName": "ObjectCreated:Put", "s3": {}}]}',
            "has no object `s3.object`",
        ),
        ('{"Records": [{}]}', "has no text in `eventName`"),
        ('{"Records": [7]}', "has no text in `eventName`"),
        (s3_event(record("in/%FF.mov")), "names in/%FF.mov, which is not UTF-8"),
        (s3_event(record("in/a.mov", size="many")), "has 'many' as the object's size"),
        (
            s3_event(record("in/%01.mov")),
            r"s3://media/in/\x01.mov has a name with an invisible character",
        ),
        (s3_event(record("")), "has no text in `s3.object.key`"),
    ],
)
def test_a_message_that_cannot_be_read_is_told_in_words_of_its_fields(
    sqs: "SQSClient", queue_url: str, body: str, reason: str
) -> None:
    """Not in Python's."""
    send(sqs, queue_url, body)
    (page,) = drained(source(queue_url))
    assert page.rejects[0].reason.startswith(reason)


@pytest.mark.parametrize("versioned", [True, False])
def test_an_object_that_was_never_versioned_is_known_by_its_etag(
    sqs: "SQSClient", queue_url: str, versioned: bool
) -> None:
    """As in a listing: its version is the text `null`, the same for every content."""
    body = s3_event(record("in/a.mov", versionId="null", eTag="%22e1%22"))
    send(sqs, queue_url, body)
    (page,) = drained(source(queue_url, versioned=versioned))
    assert page.items[0].fingerprint == "e1"


@pytest.mark.parametrize(
    "fields",
    [
        {"queue_url": "uploads"},
        {"queue_url": "http://192.0.2.1/1/uploads"},
        {"queue_url": "https://sqs.eu-west-1.amazonaws.com/"},
        {"dead_letter_url": "https://u:p@sqs.eu-west-1.amazonaws.com/1/aside"},
        {"uri": "media/in"},
        {"max_messages": 0},
        {"dead_letter_url": "https://sqs.eu-west-1.amazonaws.com/1/q"},
        {"suffixes": [""]},
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
