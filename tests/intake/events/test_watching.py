"""Watched queues: an object is a request within seconds, and no message is lost on the way."""

import json
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from ittybatch.intake import watching
from ittybatch.intake.wanted import NothingToMake, RequestRefused
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.sources import SourceError
from ittybatch.sources.sqs import Message, SqsQueue
from tests.intake.events.watched import Desk, watched
from tests.receiver.harness import wait_until
from tests.sources.messages import bridge_event, record, s3_event, send, through_sns, waiting

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


def received(sqs: "SQSClient", url: str) -> list[tuple[str, str]]:
    """The messages of a queue that are visible: their bodies and their reasons."""
    answer = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0
    )
    found: list[Any] = list(answer.get("Messages", []))
    return [
        (each["Body"], each.get("MessageAttributes", {}).get("reason", {}).get("StringValue", ""))
        for each in found
    ]


def test_every_form_of_event_is_taken_and_deleted(sqs: "SQSClient", queue_url: str) -> None:
    desk = Desk()
    with watched(desk, {"queue_url": queue_url}):
        send(
            sqs,
            queue_url,
            s3_event(record("in/a+b.mov"), record("in/two.mov")),
            bridge_event("in/bridge.mov"),
            through_sns(s3_event(record("in/sns.mov"))),
        )
        wait_until(lambda: len(desk.taken) == 4)
        wait_until(lambda: waiting(sqs, queue_url) == 0)
    assert sorted(desk.taken) == ["in/a b.mov", "in/bridge.mov", "in/sns.mov", "in/two.mov"]
    # Nobody waits for Ittybit's answer.
    assert set(desk.waits) == {0}
    assert desk.counts["taken"] == 3


def test_a_message_is_deleted_only_after_the_ledger_holds_it(
    sqs: "SQSClient", queue_url: str
) -> None:
    desk = Desk()
    desk.open.clear()
    with watched(desk, {"queue_url": queue_url}):
        send(sqs, queue_url, bridge_event("in/a.mov"))
        wait_until(lambda: received(sqs, queue_url) == [])
        assert waiting(sqs, queue_url) == 1
        desk.open.set()
        wait_until(lambda: waiting(sqs, queue_url) == 0)
    assert desk.taken == ["in/a.mov"]


def test_litter_and_other_events_are_counted_and_deleted(sqs: "SQSClient", queue_url: str) -> None:
    desk = Desk()
    with watched(desk, {"queue_url": queue_url}):
        send(
            sqs,
            queue_url,
            json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
            bridge_event("in/.hidden.mov"),
            bridge_event("in/gone.mov", "Object Deleted"),
        )
        wait_until(lambda: waiting(sqs, queue_url) == 0)
    assert desk.taken == []
    wait_until(lambda: desk.counts["taken"] == 3)
    assert {name: desk.counts[name] for name in ("test event", "hidden", "other event")} == {
        "test event": 1,
        "hidden": 1,
        "other event": 1,
    }


def test_what_cannot_be_read_is_put_aside_with_its_reason(
    sqs: "SQSClient", queue_url: str, aside_url: str
) -> None:
    """Unchanged, as a scheduled drain does; what is wanted in the same message is taken."""
    desk = Desk(
        lambda each: RequestRefused(422, "url", "Not this one.") if "no" in each.item.key else None
    )
    mixed = json.dumps({"Records": [record("in/a.mov"), {}]})
    with watched(desk, {"queue_url": queue_url, "dead_letter_url": aside_url}):
        bodies = ["nonsense", mixed, bridge_event("in/a.txt"), bridge_event("in/no.mov")]
        bodies += [s3_event(record("in/b.mov", size=[])), bridge_event("in/c.mov", ["Created"])]
        send(sqs, queue_url, *bodies)
        wait_until(lambda: waiting(sqs, queue_url) == 0)
    reasons = dict(received(sqs, aside_url))
    assert sorted(reasons) == sorted(bodies)
    assert "is not JSON" in reasons["nonsense"]
    assert "has no text in `eventName`" in reasons[mixed]
    assert reasons[bodies[2]] == "is left out by `suffix`"
    assert reasons[bodies[3]] == "cannot be processed: Not this one."
    assert reasons[bodies[4]] == "has '[]' as the object's size"
    assert reasons[bodies[5]] == "has no text in `detail-type`"
    assert desk.taken == ["in/a.mov"]


def test_without_a_dead_letter_queue_it_stays(sqs: "SQSClient", queue_url: str) -> None:
    """Its redrive policy moves it, so a mistake in a filter deletes nothing."""
    desk = Desk()
    with watched(desk, {"queue_url": queue_url}):
        send(sqs, queue_url, "nonsense", bridge_event("in/a.txt"), bridge_event("in/a.mov"))
        wait_until(lambda: desk.counts["stayed"] == 2)
        wait_until(lambda: waiting(sqs, queue_url) == 2)
    assert desk.taken == ["in/a.mov"]


def test_messages_about_other_folders_stay(
    sqs: "SQSClient", queue_url: str, aside_url: str
) -> None:
    """They are for another reader of the queue."""
    desk = Desk()
    with watched(desk, {"queue_url": queue_url, "dead_letter_url": aside_url}):
        send(sqs, queue_url, s3_event(record("other/a.mov"), record("in/a.mov")))
        wait_until(lambda: desk.counts["stayed"] == 1)
    assert (waiting(sqs, queue_url), waiting(sqs, aside_url)) == (1, 0)
    assert desk.taken == ["in/a.mov"]


def test_messages_stay_while_the_ledger_does_not_answer(sqs: "SQSClient", queue_url: str) -> None:
    """They are visible again at once, and nobody receives them until it answers.

    Each receipt counts for the redrive policy, which would move good messages aside.
    """
    desk = Desk()

    def fail(_: object) -> Exception:
        desk.ready = False
        return LedgerUnavailable("The ledger is down.")

    desk.failing = fail
    with watched(desk, {"queue_url": queue_url}):
        send(sqs, queue_url, bridge_event("in/a.mov"))
        wait_until(lambda: desk.counts["failed"] >= 2)
        counted = sqs.receive_message(
            QueueUrl=queue_url,
            AttributeNames=["ApproximateReceiveCount"],
            VisibilityTimeout=0,
        )["Messages"]
        assert [each["Attributes"]["ApproximateReceiveCount"] for each in counted] == ["2"]
        desk.failing = lambda _: None
        desk.ready = True
        wait_until(lambda: waiting(sqs, queue_url) == 0)
    assert desk.taken == ["in/a.mov"]


def test_an_object_that_no_rendition_fits_is_counted_and_deleted(
    sqs: "SQSClient", queue_url: str, aside_url: str
) -> None:
    """As in a plan: the conditions of the profile are no error of the message."""
    desk = Desk(lambda _: NothingToMake(422, "profile", "Too small."))
    with watched(desk, {"queue_url": queue_url, "dead_letter_url": aside_url}):
        send(sqs, queue_url, bridge_event("in/a.mov"))
        wait_until(lambda: desk.counts["without_rendition"] == 1)
        wait_until(lambda: waiting(sqs, queue_url) == 0)
    assert waiting(sqs, aside_url) == 0


def test_one_bad_message_does_not_keep_the_others(sqs: "SQSClient", queue_url: str) -> None:
    """It is seen again later, and the queue's redrive policy ends that."""
    desk = Desk(lambda each: ValueError("a bug") if "bad" in each.item.key else None)
    with watched(desk, {"queue_url": queue_url}):
        send(sqs, queue_url, bridge_event("in/bad.mov"), bridge_event("in/a.mov"))
        wait_until(lambda: desk.taken == ["in/a.mov"])
        wait_until(lambda: waiting(sqs, queue_url) == 1)
        send(sqs, queue_url, bridge_event("in/b.mov"))
        wait_until(lambda: desk.taken == ["in/a.mov", "in/b.mov"])
    assert received(sqs, queue_url) == []


def test_a_repeated_event_is_taken_again_and_both_are_deleted(
    sqs: "SQSClient", queue_url: str
) -> None:
    """SQS delivers at least once; the item's identity makes the second one a duplicate."""
    desk = Desk()
    with watched(desk, {"queue_url": queue_url}):
        send(sqs, queue_url, bridge_event("in/a.mov"))
        wait_until(lambda: desk.taken == ["in/a.mov"])
        send(sqs, queue_url, bridge_event("in/a.mov"))
        wait_until(lambda: desk.taken == ["in/a.mov", "in/a.mov"])
        wait_until(lambda: waiting(sqs, queue_url) == 0)


def test_a_message_with_many_records_is_taken_in_portions(
    sqs: "SQSClient", queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than may wait in the intake at a time."""
    monkeypatch.setattr(watching, "_AT_ONCE", 2)
    desk = Desk()
    with watched(desk, {"queue_url": queue_url}):
        send(sqs, queue_url, s3_event(*(record(f"in/{number}.mov") for number in range(5))))
        wait_until(lambda: waiting(sqs, queue_url) == 0)
    assert sorted(desk.taken) == [f"in/{number}.mov" for number in range(5)]


def test_a_message_that_could_not_be_deleted_comes_again(
    sqs: "SQSClient", queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash between the commit and the deletion.

    It is taken again, which makes nothing twice, and deleted then.
    """
    monkeypatch.setattr(watching, "_VISIBILITY_S", 1)
    delete, failed = SqsQueue.delete, threading.Event()

    def fail_once(queue: SqsQueue, messages: Sequence[Message]) -> None:
        if not failed.is_set():
            failed.set()
            raise SourceError("The connection broke.")
        delete(queue, messages)

    monkeypatch.setattr(SqsQueue, "delete", fail_once)
    desk = Desk()
    with watched(desk, {"queue_url": queue_url}):
        send(sqs, queue_url, bridge_event("in/a.mov"))
        wait_until(lambda: desk.taken == ["in/a.mov", "in/a.mov"])
        wait_until(lambda: waiting(sqs, queue_url) == 0)


def test_trouble_with_the_dead_letter_queue_brings_no_good_message_back(
    sqs: "SQSClient", queue_url: str, aside_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be put aside stays where it is, and what was taken with it is deleted."""

    def fail(_: SqsQueue, messages: Sequence[tuple[Message, str]]) -> None:
        raise SourceError(f"{len(messages)} messages cannot be written.")

    monkeypatch.setattr(SqsQueue, "put_aside", fail)
    send(sqs, queue_url, "nonsense", bridge_event("in/a.mov"))
    desk = Desk()
    with watched(desk, {"queue_url": queue_url, "dead_letter_url": aside_url}):
        wait_until(lambda: desk.taken == ["in/a.mov"])
        wait_until(lambda: desk.counts["failed"] >= 1)
        assert waiting(sqs, queue_url) == 1


def test_what_is_being_taken_at_the_stop_is_taken_and_deleted(
    sqs: "SQSClient", queue_url: str
) -> None:
    desk = Desk()
    desk.open.clear()
    with watched(desk, {"queue_url": queue_url}) as running:
        send(sqs, queue_url, bridge_event("in/a.mov"))
        wait_until(lambda: desk.arrived == 1)
        threading.Timer(0.3, desk.open.set).start()
        assert running.stop() < 2
        assert desk.taken == ["in/a.mov"]
    assert waiting(sqs, queue_url) == 0


def test_two_receivers_share_a_backlog(sqs: "SQSClient", queue_url: str) -> None:
    desk = Desk()
    for start in range(0, 300, 10):
        sqs.send_message_batch(
            QueueUrl=queue_url,
            Entries=[
                {"Id": str(number), "MessageBody": bridge_event(f"in/{number}.mov")}
                for number in range(start, start + 10)
            ],
        )
    queue = {"queue_url": queue_url}
    with watched(desk, queue), watched(desk, queue):
        wait_until(lambda: waiting(sqs, queue_url) == 0, within_s=60)
    assert set(desk.taken) == {f"in/{number}.mov" for number in range(300)}


def test_an_idle_queue_stops_within_two_seconds(sqs: "SQSClient", queue_url: str) -> None:
    """A message that its last long poll still receives is visible again at once."""
    desk = Desk()
    with watched(desk, {"queue_url": queue_url}) as running:
        send(sqs, queue_url, bridge_event("in/a.mov"))
        wait_until(lambda: waiting(sqs, queue_url) == 0)
        assert running.stop() < 2
        send(sqs, queue_url, bridge_event("in/b.mov"))
        wait_until(lambda: len(received(sqs, queue_url)) == 1)
    assert desk.taken == ["in/a.mov"]


def test_a_queue_that_appears_later_is_watched_from_then_on(
    sqs: "SQSClient", queue_url: str
) -> None:
    """Trouble with SQS is retried, and does not touch other queues."""
    desk = Desk()
    later = f"{queue_url}-later"
    with watched(desk, {"queue_url": later}, {"queue_url": queue_url}):
        wait_until(lambda: desk.counts["failed"] >= 1)
        send(sqs, queue_url, bridge_event("in/a.mov"))
        wait_until(lambda: desk.taken == ["in/a.mov"])
        sqs.create_queue(QueueName=later.rpartition("/")[2])
        send(sqs, later, bridge_event("in/b.mov"))
        wait_until(lambda: desk.taken == ["in/a.mov", "in/b.mov"])


def test_a_queue_that_feeds_itself_is_not_read(
    sqs: "SQSClient", queue_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]
    policy = json.dumps({"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": 3})
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"RedrivePolicy": policy})
    send(sqs, queue_url, bridge_event("in/a.mov"))
    desk = Desk()
    with watched(desk, {"queue_url": queue_url}):
        wait_until(lambda: desk.counts["failed"] >= 1)
    assert "gets its own unreadable messages back" in caplog.text
    assert (desk.taken, waiting(sqs, queue_url)) == ([], 1)
