"""Queues of events: what becomes an item."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from ittybatch.sources import BucketSource, QueueSource, queue, read_pages
from ittybatch.sources.sqs import same_queue
from tests.sources.messages import (
    bridge_event,
    drained,
    keys_of,
    record,
    s3_event,
    send,
    source,
    through_sns,
    waiting,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient


@pytest.fixture(autouse=True)
def _at_once(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queues are on this machine, and an empty one is empty."""
    del aws
    monkeypatch.setattr(queue, "EMPTY_AFTER_S", 0)


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


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/1/q", "https://eu-west-1.queue.amazonaws.com/1/q", 1),
        ("https://sqs.eu-west-1.amazonaws.com/1/q", "https://sqs.eu-west-2.amazonaws.com/1/q", 0),
        (
            "https://sqs.eusc-de-east-1.amazonaws.eu/1/q",
            "https://eusc-de-east-1.queue.amazonaws.eu/1/q",
            1,
        ),
        ("https://queue.example.com/1/q", "https://QUEUE.example.com:443/1/q/", 1),
        ("https://queue.example.com/1/q", "https://queue.example.com/1/p", 0),
    ],
)
def test_a_queue_is_known_by_every_url_that_it_has(one: str, other: str, alike: int) -> None:
    """AWS has several hosts for one."""
    assert same_queue(one, other) is bool(alike)


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


@pytest.mark.parametrize("host", ["sqs.test:80a", "sqs.test:99999", "[::1"])
def test_a_queue_whose_host_or_port_cannot_be_read_is_no_source(host: str) -> None:
    """It is refused when it is named, and not when it is first compared with another."""
    with pytest.raises(ValidationError, match="cannot be read"):
        source(f"https://{host}/1/events")
