"""Guide 003, "AWS event-driven media processing": our receiver for both Lambda functions."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guides.blocks import block
from tests.guides.server import CONNECTION, Server, serving
from tests.sandbox.harness import Running as Sandbox

# The rule's bucket and suffixes, and the dispatch function's options.
INTAKE = """
buckets:
  - bucket: my-media-bucket
    prefix: uploads/
    suffixes: [.mov, .mp4, .mkv, .webm]
    tasks:
      - {kind: video, options: {width: 1920, format: mp4, quality: high}}
  - bucket: my-media-bucket
    prefix: shows/
    suffixes: [.mov]
    tasks:
      - {kind: video, options: {width: 1920, format: mp4}}
      - {kind: image, options: {width: 640, format: webp, start: 2}}
      - {kind: audio, options: {format: mp3, quality: medium}}
"""


@pytest.fixture
def server(sandbox: Sandbox, sqlite_url: str, tmp_path: Path) -> Iterator[Server]:
    """A server with the guide's bucket declared."""
    with serving(sandbox, sqlite_url, tmp_path, intake=INTAKE) as started:
        yield started


def created(key: str, **detail: object) -> dict[str, Any]:
    """What EventBridge sends, through an API destination, about a new object."""
    rule = json.loads(block("003_rule.json"))
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": rule["detail-type"][0],
        "source": rule["source"][0],
        "account": "111122223333",
        "time": "2026-04-01T10:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:s3:::my-media-bucket"],
        "detail": {
            "version": "0",
            "bucket": {"name": rule["detail"]["bucket"]["name"][0]},
            "object": {
                "key": key,
                "size": 5_242_880,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "sequencer": "00617F08299329D189",
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "source-ip-address": "1.2.3.4",
            "reason": "PutObject",
            **detail,
        },
    }


def test_the_suffixes_are_those_of_the_guides_rule() -> None:
    """The declaration above takes the place of the rule's pattern."""
    rule = json.loads(block("003_rule.json"))
    suffixes = [each["suffix"] for each in rule["detail"]["object"]["key"]]
    assert f"suffixes: [{', '.join(suffixes)}]" in INTAKE


def test_an_object_is_dispatched_as_the_lambda_does(server: Server) -> None:
    """The input, the options with the connection, and the metadata of the source."""
    answer = server.process(created("uploads/video.mov"))
    assert answer.status_code == 202, answer.text
    [job] = answer.json()["jobs"]
    done = server.ended(job["job_id"])
    assert done["status"] == "succeeded"
    sent = server.sandbox.job(done["task_id"])
    assert sent["input"] == "s3://my-media-bucket/uploads/video.mov"
    assert sent["options"] == {
        "connection_id": CONNECTION,
        "width": 1920,
        "format": "mp4",
        "quality": "high",
    }
    metadata = {"source_bucket": "my-media-bucket", "source_key": "uploads/video.mov"}
    assert metadata.items() <= sent["metadata"].items()
    assert done["metadata"] == metadata


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv", ".webm"])
def test_every_suffix_of_the_rule_is_taken(server: Server, suffix: str) -> None:
    """One job for each object."""
    answer = server.process(created(f"uploads/a{suffix}"))
    assert answer.status_code == 202
    [job] = answer.json()["jobs"]
    assert server.ended(job["job_id"])["input_url"].endswith(f"/a{suffix}")


@pytest.mark.parametrize("key", ["uploads/a.txt", "uploads/.a.mov", "uploads/", "other/a.mov"])
def test_what_the_rule_leaves_out_makes_no_job(server: Server, key: str) -> None:
    """200, so that EventBridge does not send it again."""
    assert server.process(created(key)).status_code == 200
    assert server.sandbox.all_jobs() == []


def test_the_same_event_twice_makes_one_job(server: Server) -> None:
    """EventBridge delivers at least once."""
    answers = [server.process(created("uploads/video.mov")) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {202}
    [job_id] = {answer.json()["jobs"][0]["job_id"] for answer in answers}
    server.ended(job_id)
    assert len(server.sandbox.all_jobs()) == 1


def test_several_task_types_for_one_object(server: Server) -> None:
    """Video, thumbnail and sound from one event; each fires its own webhook."""
    answer = server.process(created("shows/pilot.mov"))
    jobs = answer.json()["jobs"]
    rows = [server.ended(job["job_id"]) for job in jobs]
    assert [row["kind"] for row in rows] == ["video", "image", "audio"]
    assert [row["status"] for row in rows] == ["succeeded"] * 3
    assert {row["metadata"]["source_key"] for row in rows} == {"shows/pilot.mov"}
