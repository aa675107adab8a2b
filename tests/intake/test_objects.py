"""An object has one identity: whoever names it, its jobs are made and paid for once."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import orjson
import pytest
from botocore.config import Config
from sqlalchemy import update

from ittybatch.intake import objects
from ittybatch.intake.declared import Declared
from ittybatch.intake.events import wanted_of as wanted_of_event
from ittybatch.intake.intake import Intake, Taken, TaskSpec, Wanted
from ittybatch.intake.objects import Objects
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.models import Attempt
from ittybatch.profiles import Item
from ittybatch.settings import Settings
from ittybatch.sources import parse_source, read_pages
from tests.intake import harness
from tests.intake.harness import by_kind, take
from tests.ledger import library
from tests.sandbox.harness import Running
from tests.sources import messages

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def request(uri: str) -> Wanted:
    """A request as `POST /process` reads it: without an ETag."""
    return Wanted(Item(uri), tasks=[TaskSpec("video", {"height": 480})])


@pytest.fixture(autouse=True)
def patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is slow: looks have time, but for the store that never answers."""
    if "silent" not in request.fixturenames:
        calls = objects._CALLS.merge(Config(connect_timeout=20, read_timeout=20))
        monkeypatch.setattr(objects, "_CALLS", calls)
        monkeypatch.setattr(objects, "_LOOK_S", 20.0)
        monkeypatch.setattr(objects, "_FIRST_LOOK_S", 20.0)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch, aws: str) -> Iterator[None]:
    """A store that accepts connections and never answers."""
    del aws
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        yield


def test_a_request_an_event_and_a_scan_name_the_same_object(
    ledger: Ledger, settings: Settings, sandbox: Running, s3: "S3Client", bucket: str
) -> None:
    """One job answers both, and the scan's item has the same identity."""
    s3.put_object(Bucket=bucket, Key="in/a b.mov", Body=b"first")
    uri = f"s3://{bucket}/in/a b.mov"
    task = {"kind": "video", "options": {"height": 480}}
    declared = Declared.model_validate({"buckets": [{"bucket": bucket, "tasks": [task]}]})
    etag = s3.head_object(Bucket=bucket, Key="in/a b.mov")["ETag"]
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {
            "bucket": {"name": bucket},
            "object": {"key": "in/a b.mov", "size": 5, "etag": etag.strip('"')},
        },
    }
    [by_event] = wanted_of_event(event, declared).wanted
    [first] = take(ledger, settings, request(f" {uri} "))
    [second] = take(ledger, settings, by_event)
    assert [each.jobs[0].created for each in (first, second)] == [True, False]
    assert first.jobs[0].job_id == second.jobs[0].job_id
    assert len(harness.sandbox_jobs(sandbox)) == 1

    [page] = read_pages(parse_source(f"s3://{bucket}/in/"))
    looked = asyncio.run(Objects().identified(Item(uri)))
    assert [looked] == list(page.items)


def test_a_space_at_the_end_of_an_objects_key_is_part_of_it(
    ledger: Ledger, settings: Settings, sandbox: Running, s3: "S3Client", bucket: str
) -> None:
    """Only what people type is stripped: without its space the key is another object's."""
    keys = ("in/a.mov", "in/a.mov ")
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    etag = s3.head_object(Bucket=bucket, Key=keys[1])["ETag"].strip('"')
    declared = Declared.model_validate(
        {"buckets": [{"bucket": bucket, "tasks": [{"kind": "video"}]}]}
    )
    event = orjson.loads(messages.bridge_event(keys[1]))
    event["detail"] |= {"bucket": {"name": bucket}, "object": {"key": keys[1], "etag": etag}}
    [by_event] = wanted_of_event(event, declared).wanted
    [page] = read_pages(parse_source(f"s3://{bucket}/in/"))
    scanned = next(item for item in page.items if item.key == keys[1])
    first, second = (
        take(ledger, settings, each)[0].jobs[0]
        for each in (by_event, Wanted(scanned, tasks=by_event.tasks))
    )
    assert (first.created, second.created) == (True, False)
    [sent] = harness.sandbox_jobs(sandbox)
    assert sent["input"] == scanned.uri == f"s3://{bucket}/{keys[1]}"


def test_an_object_that_was_overwritten_is_made_anew(
    ledger: Ledger, settings: Settings, s3: "S3Client", bucket: str
) -> None:
    """The answer is not the output of what was there before."""
    uri = f"s3://{bucket}/a.mov"
    taken = []
    for content in (b"first", b"second", b"second"):
        s3.put_object(Bucket=bucket, Key="a.mov", Body=content)
        taken += take(ledger, settings, request(uri))
    assert [each.jobs[0].created for each in taken] == [True, True, False]


def _identified_by_uri_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a ledger of an earlier version, or while the store does not answer."""

    async def unknown(_self: Objects, item: Item) -> Item:
        return item

    monkeypatch.setattr(Objects, "identified", unknown)


@pytest.mark.parametrize("known_first", [False, True])
def test_a_store_that_answers_now_and_then_makes_nobody_pay_twice(
    ledger: Ledger, settings: Settings, s3: "S3Client", bucket: str, *, known_first: bool
) -> None:
    """The same object with and without its ETag: one job, whichever came first."""
    s3.put_object(Bucket=bucket, Key="a.mov", Body=b"first")
    uri = f"s3://{bucket}/a.mov"
    taken = []
    for known in (known_first, not known_first):
        with pytest.MonkeyPatch.context() as patch:
            if not known:
                _identified_by_uri_alone(patch)
            taken += take(ledger, settings, request(uri))
    assert [each.jobs[0].created for each in taken] == [True, False]
    other = Wanted(Item(uri), tasks=[TaskSpec("video", {"height": 720})])
    [another] = take(ledger, settings, other)
    assert another.jobs[0].created, "it asks for something else"


def test_an_object_written_after_its_job_was_sent_is_made_anew(
    ledger: Ledger, settings: Settings, s3: "S3Client", bucket: str
) -> None:
    """Though the job was made of its URI alone."""
    s3.put_object(Bucket=bucket, Key="a.mov", Body=b"first")
    uri = f"s3://{bucket}/a.mov"
    with pytest.MonkeyPatch.context() as patch:
        _identified_by_uri_alone(patch)
        take(ledger, settings, request(uri))

    def age(transaction: Transaction) -> None:
        transaction.execute(update(Attempt).values(sent_at=library.LONG_AGO))

    ledger.write(age)
    [second] = take(ledger, settings, request(uri))
    assert second.jobs[0].created


def test_a_declared_folder_says_whether_the_version_counts(s3: "S3Client", bucket: str) -> None:
    """As its events and scans have it; elsewhere the ETag counts, and never a version `null`."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="in/a.mov", Body=b"one")["VersionId"]
    s3.put_object(Bucket=bucket, Key="up/a.mov", Body=b"one")
    declared = Declared.model_validate(
        {
            "buckets": [
                {"bucket": bucket, "prefix": "in/", "suffixes": [".mov"], "profile": "web"}
                | {"versioned": True}
            ]
        }
    )
    found = [
        asyncio.run(Objects(declared).identified(Item(f"s3://{bucket}/{key}"))).fingerprint
        for key in ("in/a.mov", "up/a.mov")
    ]
    assert found == [version, s3.head_object(Bucket=bucket, Key="up/a.mov")["ETag"].strip('"')]


def test_what_cannot_be_looked_at_is_taken_all_the_same(
    ledger: Ledger, settings: Settings, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Ittybit may read what these credentials do not; the log says what it costs."""
    with caplog.at_level(logging.WARNING):
        [taken] = take(ledger, settings, request(f"s3://{bucket}/gone.mov"))
    assert taken.jobs[0].task_id
    assert "gone.mov is identified by its URI alone" in caplog.text
    assert "no such object" in caplog.text


@pytest.mark.usefixtures("silent")
def test_a_store_that_does_not_answer_keeps_nobody_waiting(
    ledger: Ledger, settings: Settings
) -> None:
    """Many objects wait at the same time and not for each other, and URLs do not wait at all."""

    async def work(intake: Intake) -> tuple[list[Taken], bool, float]:
        await intake.take(request("s3://media/first.mov"))  # makes the client
        objects = [intake.take(request(f"s3://media/{n}.mov")) for n in range(100)]
        started = time.monotonic()
        waiting = asyncio.gather(*objects)
        await asyncio.sleep(0)
        await intake.take(by_kind("a.mov"), answer_within_s=0)
        overtaken = not waiting.done()
        return await waiting, overtaken, time.monotonic() - started

    taken, overtaken, took_s = harness.run(ledger, settings, work)
    assert len(taken) == 100
    assert overtaken
    assert took_s < 5, "one after the other they would take 50 s"


@pytest.mark.parametrize(
    ("headers", "identity"),
    [
        ({"ETag": '"ABC-1"'}, ("ABC-1", 0, None)),
        ({"ETag": '"a"', "Last-Modified": "yesterday"}, (None, None, None)),
    ],
    ids=["few headers", "a date that is none"],
)
def test_a_store_with_ways_of_its_own_breaks_no_request(
    headers: dict[str, str],
    identity: tuple[str | None, int | None, datetime | None],
    monkeypatch: pytest.MonkeyPatch,
    aws: str,
) -> None:
    """What it says is used, and what cannot be read is as if it had not answered."""
    del aws

    class Store(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(200)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Store) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{store.server_port}")
        threading.Thread(target=store.handle_request).start()
        found = asyncio.run(Objects().identified(Item("s3://media/a.mov")))
    assert (found.fingerprint, found.size_bytes, found.modified_at) == identity


def test_urls_and_known_objects_are_not_looked_at() -> None:
    """A URL has the identity of its text, and an event has said the ETag."""
    closed = Objects()
    closed.close()
    items = [Item("https://example.com/a.mov"), Item("s3://media/a.mov", "e", 5, datetime.now(UTC))]
    assert [asyncio.run(closed.identified(each)) for each in items] == items
