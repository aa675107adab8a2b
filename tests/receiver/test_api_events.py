"""Events as their senders post them: to the route of requests, without a function in between."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.project import CHECKOUT
from tests.receiver.api_client import Api, NotingIntake, serving
from tests.receiver.harness import SECRET, wait_until
from tests.receiver.test_api_jobs import connected
from tests.sandbox import harness as sandboxes

INTAKE = """
buckets:
  - {bucket: my-media-bucket, prefix: uploads/, suffixes: [.mov, .mp4], profile: web}
tables:
  - table: jobs
    tasks: [{kind: video, options: {width: 1280, format: mp4, quality: high}}]
"""

PROFILES_DIR = CHECKOUT / "deployments" / "profiles"


@pytest.fixture
def sandbox() -> Iterator[sandboxes.Running]:
    with sandboxes.running(instant=True, webhook_secret=SECRET) as up:
        yield up


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path, sandbox: sandboxes.Running) -> Iterator[Api]:
    """The API, where one folder and one table are declared."""
    declared = tmp_path / "intake.yaml"
    declared.write_text(INTAKE)
    with connected(sqlite_url, tmp_path, api_url=sandbox.url, intake_file=declared) as client:
        yield client


def event_bridge(key: str) -> dict[str, Any]:
    """What EventBridge sends through an API destination."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2026-11-27T10:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:s3:::my-media-bucket"],
        "detail": {
            "version": "0",
            "bucket": {"name": "my-media-bucket"},
            "object": {"key": key, "size": 5, "etag": "b57f9512698f4b09e608f4f2a65852e5"},
            "reason": "PutObject",
        },
    }


def notification(*keys: str) -> dict[str, Any]:
    """S3's own form, which MinIO and others post."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "eventTime": "2026-11-27T10:00:00.000Z",
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": "my-media-bucket"},
                    "object": {"key": key, "size": 5, "eTag": "0" * 32, "sequencer": "01"},
                },
            }
            for key in keys
        ]
    }


def row(url: object, row_id: object = "9a1c", table: str = "jobs") -> dict[str, Any]:
    """Supabase's database webhook for a new row."""
    return {
        "type": "INSERT",
        "table": table,
        "schema": "public",
        "record": {"id": row_id, "input_url": url, "status": "pending"},
        "old_record": None,
    }


def inputs(sandbox: sandboxes.Running) -> set[str]:
    return {each["input"] for each in sandbox.all_jobs()}


def test_a_new_object_gets_the_jobs_of_its_folder(api: Api, sandbox: sandboxes.Running) -> None:
    """The answer does not wait for Ittybit: EventBridge has no use for its ids."""
    answer = api.post(event_bridge("uploads/video.mov"))
    assert answer.status_code == 202
    taken = answer.json()
    assert [each["rendition"] for each in taken["jobs"]] == ["hd", "sound"]
    wait_until(lambda: len(sandbox.all_jobs()) == 2)
    assert inputs(sandbox) == {"s3://my-media-bucket/uploads/video.mov"}
    job = api.get(f"/jobs/{taken['job_id']}").json()
    assert job["metadata"] == {
        "source_bucket": "my-media-bucket",
        "source_key": "uploads/video.mov",
    }


def test_an_event_that_comes_twice_makes_nothing_twice(
    api: Api, sandbox: sandboxes.Running
) -> None:
    """Senders deliver at least once; both get the same jobs."""
    first, second = (api.post(event_bridge("uploads/video.mov")).json() for _ in range(2))
    ids = [[each["job_id"] for each in taken["jobs"]] for taken in (first, second)]
    assert ids[0] == ids[1]
    wait_until(lambda: len(sandbox.all_jobs()) == 2)


def test_an_event_that_was_taken_in_part_is_sent_again(sqlite_url: str, tmp_path: Path) -> None:
    """The answer does not say that nothing was taken: the first object's jobs go out."""
    declared = tmp_path / "intake.yaml"
    declared.write_text(INTAKE)
    gone = LedgerUnavailable("It restarts.")
    intake = NotingIntake(lambda wanted: gone if wanted.item.uri.endswith("b.mov") else None)
    with serving(sqlite_url, intake, intake_file=declared, profiles_dir=PROFILES_DIR) as api:
        answer = api.post(notification("uploads/a.mov", "uploads/b.mov"))
        alone = api.post(notification("uploads/b.mov"))
    assert (answer.status_code, alone.status_code) == (503, 503)
    assert "Only 1 of the event's 2 objects is known to be taken" in answer.json()["error"]
    assert "Nothing was taken" in alone.json()["error"]


def test_what_a_rule_leaves_out_is_counted(api: Api, sandbox: sandboxes.Running) -> None:
    """Other suffixes, hidden files, other folders; what is left is taken."""
    answer = api.post(
        notification("uploads/a.mov", "uploads/notes.txt", "uploads/.hidden.mov", "elsewhere/b.mov")
    )
    assert answer.status_code == 202
    assert sum(answer.json()["left_out"].values()) == 3
    wait_until(lambda: inputs(sandbox) == {"s3://my-media-bucket/uploads/a.mov"})


def test_an_event_that_asks_for_nothing_is_no_error(api: Api, sandbox: sandboxes.Running) -> None:
    """MinIO would repeat an error for ever, and keep its later events waiting."""
    for event in (
        event_bridge("uploads/notes.txt"),
        notification("elsewhere/b.mov"),
        row("https://example.com/a.mov", table="profiles"),
        {**row("https://example.com/a.mov"), "type": "UPDATE"},
    ):
        answer = api.post(event)
        assert (answer.status_code, answer.json()["status"]) == (200, "ignored")
        assert sum(answer.json()["left_out"].values()) == 1
    assert sandbox.all_jobs() == []


def test_a_new_row_gets_the_jobs_of_its_table(api: Api, sandbox: sandboxes.Running) -> None:
    """`metadata.job_id` is the row's id, as in the guide."""
    answer = api.post(row("https://example.com/uploads/video.mp4"))
    assert answer.status_code == 202
    job = api.get(f"/jobs/{answer.json()['job_id']}").json()
    assert job["metadata"] == {"job_id": "9a1c"}
    assert job["input_url"] == "https://example.com/uploads/video.mp4"
    wait_until(lambda: len(sandbox.all_jobs()) == 1)


@pytest.mark.parametrize(
    "event",
    [
        row("http://10.0.0.1/a.mov"),
        row("not a url"),
        row("https://[::1"),
        row("https://exa\u2100mple.com/"),
        row(f"ftp://[v1.{'a' * 300}]/x"),
        row("s3://private-bucket/secret.mov"),
        row(7),
        {**row("https://example.com/a.mov"), "record": {"id": 1}},
        {**row("https://example.com/a.mov"), "record": "x"},
    ],
    ids=[
        "private",
        "no url",
        "open bracket",
        "no name",
        "cut",
        "bucket",
        "number",
        "no column",
        "no record",
    ],
)
def test_a_row_that_cannot_be_used_is_refused(
    api: Api, sandbox: sandboxes.Running, event: dict[str, Any]
) -> None:
    """422 in the API's form: Supabase shows it among the webhook's answers."""
    answer = api.post(event)
    assert answer.status_code == 422
    assert {"error", "field", "remedy"} == set(answer.json())
    assert sandbox.all_jobs() == []


@pytest.mark.parametrize("changes", [{"size": []}, {"size": 2**63}, {"etag": ["e1"]}])
def test_a_malformed_event_is_refused_with_its_field(
    api: Api, sandbox: sandboxes.Running, changes: dict[str, Any]
) -> None:
    """422 and not 500, which EventBridge would repeat for a day."""
    event = event_bridge("uploads/video.mov")
    event["detail"]["object"] |= changes
    answer = api.post(event)
    assert answer.status_code == 422
    assert next(iter(changes)) in answer.json()["error"]
    assert sandbox.all_jobs() == []


def test_openapi_describes_every_form_with_an_example_that_works(api: Api) -> None:
    """A gateway that checks bodies by the schema lets events through."""
    described = api.get("/openapi.json").json()["paths"]["/process"]["post"]["requestBody"]
    content = described["content"]["application/json"]
    assert len(content["schema"]["oneOf"]) == 5
    assert len(content["examples"]) == 4
    for each in content["examples"].values():
        assert api.post(each["value"]).status_code == 202


def test_events_need_the_token_too(api: Api) -> None:
    """Whoever could post them could spend the owner's money."""
    answer = api.post(event_bridge("uploads/video.mov"), headers={"Authorization": "Bearer x"})
    assert answer.status_code == 401
