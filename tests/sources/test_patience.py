"""A service that fails for a while is asked again for minutes, and nothing else counts as one."""

import gzip
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from ittybatch.sources import BucketSource, InventorySource, QueueSource, SourceError, read_pages
from ittybatch.sources import queue as queues
from ittybatch.sources import s3 as aws
from ittybatch.sources.sqs import SqsQueue
from tests.sources.store import BROKEN, Answered, Asked, Store

JSON = (("Content-Type", "application/x-amz-json-1.0"),)
HTML = Answered(b"<html>Log in</html>", headers=(("Content-Type", "text/html"),))


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits, and an empty queue is empty at once."""
    monkeypatch.setattr(aws, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(queues, "EMPTY_AFTER_S", 0)


def failing(times: int, answer: Callable[[Asked], Answered]) -> Callable[[Asked], Answered]:
    """Break the connection a few times, and answer from then on."""
    left = itertools.count(times, -1)

    def answered(asked: Asked) -> Answered:
        return Answered(b"", BROKEN) if next(left) > 0 else answer(asked)

    return answered


def test_a_bucket_whose_connections_break_is_listed_to_its_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 alone gives up within seconds."""
    usual = store.answer
    store.answer = failing(4, usual)
    (page,) = read_pages(BucketSource(uri="s3://media/", parallel=1))
    assert [item.key for item in page.items] == ["a.mov"]
    monkeypatch.setattr(aws, "PATIENCE_S", 0.3)
    store.answer = failing(10_000, usual)
    with pytest.raises(SourceError, match=r"s3://media/ cannot be listed: Connection was closed"):
        list(read_pages(BucketSource(uri="s3://media/", parallel=1)))


def test_a_store_that_never_answered_is_not_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address is more often a typing error."""
    del store
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for source in (
        BucketSource(uri="s3://media/"),
        InventorySource(manifest_uri="s3://media/manifest.json"),
        QueueSource(queue_url="http://127.0.0.1:1/1/uploads", uri="s3://media/"),
    ):
        with pytest.raises(SourceError, match="Could not connect to the endpoint"):
            list(read_pages(source))


def test_an_inventory_whose_transfers_break_is_read_from_their_beginning(store: Store) -> None:
    """What had arrived of a part is replaced."""
    manifest = {
        "sourceBucket": "media",
        "destinationBucket": "arn:aws:s3:::lists",
        "fileFormat": "CSV",
        "fileSchema": "Key, Size, ETag, StorageClass",
        "files": [{"key": "part.csv.gz"}],
    }
    part = gzip.compress(b'"a.mov","5","e1","STANDARD"\n')
    gets: list[Asked] = []

    def answer(asked: Asked) -> Answered:
        if asked.path.endswith("manifest.json"):
            return Answered(json.dumps(manifest).encode())
        if not asked.path.endswith("part.csv.gz"):
            return Answered(b"", 404)
        gets.append(asked)
        # After as many answers s3transfer itself gives up.
        return Answered(part, headers=(("ETag", '"p1"'),), cut=len(gets) < 8)

    store.answer = failing(3, answer)
    (page,) = read_pages(InventorySource(manifest_uri="s3://lists/manifest.json"))
    assert [item.key for item in page.items] == ["a.mov"]
    assert len(gets) >= 8


def queue_answers(asked: Asked) -> Answered:
    action = asked.headers["x-amz-target"].partition(".")[2]
    arn = {"Attributes": {"QueueArn": "arn:aws:sqs:eu-west-1:1:uploads"}}
    found: dict[str, Any] = arn if action == "GetQueueAttributes" else {}
    return Answered(json.dumps(found).encode(), headers=JSON)


def queue_of(store: Store) -> QueueSource:
    return QueueSource(queue_url=f"{store.url}/1/uploads", uri="s3://media/in/")


def test_a_queue_that_cannot_be_reached_for_a_while_is_drained_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch waits; a watcher has its own pauses, and says at once what is wrong."""
    store.answer = failing(4, queue_answers)
    assert list(read_pages(queue_of(store))) == []
    store.answer = failing(1, queue_answers)
    with pytest.raises(SourceError, match="Connection was closed"):
        SqsQueue(queue_of(store).queue_url).wait(0)
    monkeypatch.setattr(aws, "PATIENCE_S", 0.3)
    store.answer = lambda _: Answered(b"{}", 503, JSON)
    with pytest.raises(SourceError, match="cannot be looked at"):
        list(read_pages(queue_of(store)))


@pytest.mark.parametrize(
    "answered",
    [
        HTML,
        Answered(HTML.body, headers=JSON),
        Answered(b'{"error": "log in"}', headers=JSON),
        Answered(b"", headers=JSON),
        Answered(b'"log in"'),
    ],
)
def test_a_web_page_is_no_empty_queue(store: Store, answered: Answered) -> None:
    """An answer without messages would be made of it."""
    store.answer = lambda _: answered
    with pytest.raises(SourceError, match=r"looked at: http://.* answered, but not as a queue\."):
        list(read_pages(queue_of(store)))
    if b"error" not in answered.body:
        with pytest.raises(SourceError, match=r"read: http://.* answered, but not as a queue\."):
            SqsQueue(queue_of(store).queue_url).wait(0)
