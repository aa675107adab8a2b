"""Events of buckets: which objects are wanted, as which items, and what is left out."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ittybatch.intake.declared import Declared
from ittybatch.intake.events import EventResult, is_event, wanted_of
from tests.sources.messages import bridge_event, record, s3_event, through_sns

DECLARED = Declared.model_validate(
    {
        "buckets": [
            {"bucket": "media", "prefix": "in/", "profile": "web", "suffixes": [".mov", ".m3u8"]},
            {
                "bucket": "media",
                "prefix": "in/",
                "suffixes": [".mp3"],
                "tasks": [{"kind": "audio"}],
            },
            {"bucket": "media", "prefix": "versions/", "profile": "web", "versioned": True},
        ]
    }
)


def read(body: str | bytes | dict[str, Any]) -> EventResult:
    return wanted_of(body, DECLARED)


def keys(result: EventResult) -> list[str]:
    return [each.item.key for each in result.wanted]


@pytest.mark.parametrize(
    "body",
    [
        bridge_event("in/a b+c.mov"),
        s3_event(record("in/a+b%2Bc.mov")),
        through_sns(s3_event(record("in/a+b%2Bc.mov"))),
        through_sns(through_sns(bridge_event("in/a b+c.mov"))),
        json.dumps(
            {
                "EventName": "s3:ObjectCreated:Put",
                "Key": "media/in/a b+c.mov",
                "Records": [
                    {**record("in/a+b%2Bc.mov"), "eventName": "s3:ObjectCreated:Put"},
                ],
            }
        ),
    ],
    ids=["EventBridge", "S3", "S3 through SNS", "EventBridge through SNS twice", "MinIO"],
)
@pytest.mark.parametrize("parsed", [False, True])
def test_every_form_of_event_is_the_same_item(body: str, parsed: bool) -> None:
    """With the key as it is: only S3's own form has it encoded."""
    result = read(json.loads(body) if parsed else body)
    [wanted] = result.wanted
    assert (wanted.item.uri, wanted.item.fingerprint, wanted.item.size_bytes) == (
        "s3://media/in/a b+c.mov",
        "e1",
        5,
    )
    assert wanted.item.modified_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (wanted.profile, wanted.tasks) == ("web", ())
    assert wanted.metadata == {"source_bucket": "media", "source_key": "in/a b+c.mov"}
    assert (dict(result.left_out), result.unreadable) == ({}, ())


def test_each_suffix_gets_its_own_jobs() -> None:
    result = read(s3_event(record("in/a.mov"), record("in/b.MP3")))
    assert [(each.profile, [task.kind for task in each.tasks]) for each in result.wanted] == [
        ("web", []),
        (None, ["audio"]),
    ]


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("out/a.mov", "undeclared"),
        ("in/a.txt", "suffix"),
        ("in/.hidden.mov", "hidden"),
        ("in/__MACOSX/._a.mov", "hidden"),
        ("in/a.mov.part", "hidden"),
        ("in/hls/playlist.m3u8", "segments"),
        ("in/folder/", "folders"),
    ],
)
def test_what_is_left_out_is_counted_by_its_rule(key: str, rule: str) -> None:
    """By the rules of a scan."""
    result = read(bridge_event(key))
    assert (keys(result), dict(result.left_out)) == ([], {rule: 1})


def test_empty_objects_are_left_out() -> None:
    assert dict(read(s3_event(record("in/a.mov", size=0))).left_out) == {"empty": 1}


def test_another_bucket_is_not_declared() -> None:
    event = record("in/a.mov")
    event["s3"]["bucket"]["name"] = "other"
    assert dict(read(s3_event(event)).left_out) == {"undeclared": 1}


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ('{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "media"}', "test event"),
        (bridge_event("in/a.mov", "Object Deleted"), "other event"),
        (s3_event({**record("in/a.mov"), "eventName": "ObjectRemoved:Delete"}), "other event"),
        (s3_event({**record("in/a.mov"), "eventName": "ObjectTagging:Put"}), "other event"),
    ],
)
def test_other_events_are_counted_and_make_nothing(body: str, rule: str) -> None:
    result = read(body)
    assert (keys(result), dict(result.left_out), result.unreadable) == ([], {rule: 1}, ())


def test_the_newest_of_several_events_counts() -> None:
    """An object that was overwritten or deleted meanwhile is not processed for nothing."""
    gone = {**record("in/gone.mov", sequencer="0B"), "eventName": "ObjectRemoved:Delete"}
    result = read(
        s3_event(
            record("in/a.mov", eTag="old", sequencer="0A"),
            record("in/a.mov", eTag="new", sequencer="0B"),
            record("in/gone.mov", sequencer="0A"),
            gone,
        )
    )
    assert [(each.item.key, each.item.fingerprint) for each in result.wanted] == [
        ("in/a.mov", "new")
    ]
    assert dict(result.left_out) == {"newer event": 1, "removed again": 1}


def test_versions_identify_objects_where_that_is_declared() -> None:
    """As in a scan with `versioned`; objects that were never versioned have the version `null`."""
    first = read(s3_event(record("versions/a.mov", versionId="v7")))
    second = read(s3_event(record("versions/a.mov", versionId="null")))
    third = read(s3_event(record("in/a.mov", versionId="v7")))
    assert [each.wanted[0].item.fingerprint for each in (first, second, third)] == [
        "v7",
        "e1",
        "e1",
    ]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("nonsense", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"a": 1}', "is neither a notification of S3 nor an event of EventBridge"),
        ('{"Records": [{"eventName": "ObjectCreated:Put"}]}', "has no object `s3`"),
        (s3_event(record("in/%FF.mov")), "which is not UTF-8"),
        (bridge_event("in/a\x07.mov"), "has a name with an invisible character"),
        (through_sns(through_sns(through_sns("{}"))), "has more than 3 envelopes of SNS"),
    ],
)
def test_what_cannot_be_read_says_why(body: str, why: str) -> None:
    result = read(body)
    assert result.wanted == []
    [reason] = result.unreadable
    assert why in reason


def test_one_bad_record_does_not_hide_the_others() -> None:
    result = read(json.dumps({"Records": [record("in/a.mov"), {}, None, record("in/b.mov")]}))
    assert keys(result) == ["in/a.mov", "in/b.mov"]
    assert len(result.unreadable) == 2


def test_events_are_told_from_requests() -> None:
    """`POST /process` takes both."""
    events = [
        bridge_event("a"),
        s3_event(record("a")),
        through_sns("{}"),
        '{"Event":"s3:TestEvent"}',
    ]
    assert all(is_event(json.loads(each)) for each in events)
    requests: list[object] = [
        {"url": "https://a.test/a.mov", "kind": "video"},
        {"url": "https://a.test/a.mov", "type": "INSERT"},
        [],
        None,
    ]
    assert not any(map(is_event, requests))
