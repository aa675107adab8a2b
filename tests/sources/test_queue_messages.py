"""Messages of a queue: which are put aside, which stay, and when they are deleted."""

import itertools
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from ittybatch.sources import SourceError, queue, read_pages
from ittybatch.sources.sqs import Message, SqsQueue
from tests.sources.messages import (
    bridge_event,
    drained,
    keys_of,
    record,
    s3_event,
    send,
    source,
    waiting,
)

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@pytest.fixture(autouse=True)
def _at_once(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queues are on this machine, and an empty one is empty."""
    del aws
    monkeypatch.setattr(queue, "EMPTY_AFTER_S", 0)


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
    sqs: "SQSClient", queue_url: str, aside_url: str, mistake: dict[str, Any]
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


BAD = [
    "nonsense", "[]", "{}", '{"Records": [{}]}', '{"Records": [7]}',
    s3_event({**record("in/a.mov"), "s3": {"bucket": {"name": "media"}, "object": {}}}),
    s3_event(record("in/%FF.mov")), s3_event(record("in/a.mov", size="many")),
    s3_event(record("in/a.mov", size=[])), s3_event(record("in/a.mov", size=2**63)),
    bridge_event("in/a.mov", kind=["Object Created"]),
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
