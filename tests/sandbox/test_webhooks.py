"""Webhooks: shapes, signature, retries, endpoints."""

import re
import shutil
import subprocess

import httpx
import pytest

from tests.sandbox.harness import Running, Sink, running, wait_for


def test_a_flat_webhook_is_the_job_itself(instant: Running, sink: Sink) -> None:
    """It has the fields that Ittybit's guides show, and is signed byte for byte."""
    job_id = instant.create(metadata={"media_id": 7, "né": [1]}, webhook_url=f"{sink.url}/hook?a=1")
    received = wait_for(lambda: sink.received)[0]
    body = received.body
    assert received.is_signed()
    assert received.path == "/hook?a=1"
    assert set(body) == {
        "id", "status", "kind", "input", "output", "metadata", "created_at", "completed_at",
    }  # fmt: skip
    assert (body["id"], body["status"], body["kind"]) == (job_id, "succeeded", "video")
    assert set(body["output"]) == {"url", "format", "width", "height", "duration", "size"}
    assert body["metadata"] == {"media_id": 7, "né": [1]}
    assert body["completed_at"] >= body["created_at"] > 10**12
    assert len(sink.received) == 1


def test_an_envelope_wraps_the_job_and_says_completed(sink: Sink) -> None:
    """Success is spelt differently inside, as one of the guides has it."""
    with running(instant=True, webhook_dialect="envelope") as sandbox:
        job_id = sandbox.create(webhook_url=sink.url, metadata={"source_key": "a"})
        received = wait_for(lambda: sink.received)[0]
    assert received.is_signed()
    assert set(received.body) == {"event", "data"}
    data = received.body["data"]
    assert (received.body["event"], data["status"]) == ("job.succeeded", "completed")
    assert (data["id"], set(data["output"])) == (job_id, {"url"})
    assert data["duration_ms"] == data["completed_at"] - data["created_at"]
    assert data["metadata"] == {"source_key": "a"}


def test_a_flat_webhook_can_say_completed(sink: Sink) -> None:
    """Two of the guides read that word at the top level."""
    with running(instant=True, webhook_dialect="completed") as sandbox:
        job_id = sandbox.create(webhook_url=sink.url)
        received = wait_for(lambda: sink.received)[0]
    assert received.is_signed()
    assert (received.body["id"], received.body["status"]) == (job_id, "completed")
    assert received.body["output"]["url"]


@pytest.mark.parametrize("dialect", ["flat", "completed", "envelope"])
def test_the_bytes_are_those_that_javascript_would_write(sink: Sink, dialect: str) -> None:
    """One guide checks the signature of `JSON.stringify(req.body)`, not of what it received."""
    node = shutil.which("node")
    metadata = {"share": 2.0, "parts": [1.0, 0.5, {"id": 7.0}], "text": "né \u2028 / \U0001f600"}
    with running(instant=True, webhook_dialect=dialect) as sandbox:
        sandbox.create(webhook_url=sink.url, metadata=metadata)
        raw = wait_for(lambda: sink.received)[0].raw
    assert not re.search(rb"\d\.0[,}\]]", raw)
    if node is not None:
        script = "process.stdout.write(JSON.stringify(JSON.parse(fs.readFileSync(0, 'utf8'))))"
        again = subprocess.run([node, "-e", script], input=raw, capture_output=True, check=True)
        assert again.stdout == raw


@pytest.mark.parametrize("dialect", ["flat", "completed", "envelope"])
def test_a_failure_says_why(sink: Sink, dialect: str) -> None:
    """There is an error with kind and message, and no output."""
    error = {"kind": "internal_error", "message": "encoder was preempted"}
    faults = {"jobs": [{"action": "fail_always", "error": error}]}
    with running(instant=True, webhook_dialect=dialect, faults=faults) as sandbox:
        sandbox.create(webhook_url=sink.url)
        body = wait_for(lambda: sink.received)[0].body
    job = body["data"] if dialect == "envelope" else body
    assert body.get("event", "job.failed") == "job.failed"
    assert (job["status"], job["error"]) == ("failed", error)
    assert "output" not in job


def test_a_refused_webhook_is_sent_again_unchanged(sink: Sink) -> None:
    """A 5xx, a 404, a redirect and silence are all refusals; redirects are not followed."""
    sink.answers = [500, 404, 307, 0]
    with running(instant=True, webhook_timeout_s=0.3) as sandbox:
        sandbox.create(webhook_url=f"{sink.url}/hook")
        wait_for(lambda: len(sink.received) == 5)
        wait_for(lambda: sandbox.summary()["deliveries"]["acknowledged"] == 1)
        deliveries = sandbox.summary()["deliveries"]
    assert {received.path for received in sink.received} == {"/hook"}
    assert len({received.raw for received in sink.received}) == 1
    assert all(received.is_signed() for received in sink.received)
    assert (deliveries["sent"], deliveries["refused"]) == (5, 4)


def test_a_webhook_is_given_up_after_so_many_attempts() -> None:
    """Without a listener, the delivery is abandoned after the last attempt."""
    with Sink().listening() as sink:
        url = sink.url
    with running(instant=True, webhook_attempts=3) as sandbox:
        job_id = sandbox.create(webhook_url=url)
        wait_for(lambda: sandbox.summary()["deliveries"]["abandoned"])
        (row,) = sandbox.all_jobs()
    assert row["id"] == job_id
    assert row["deliveries"] == [
        {"url": url, "state": "abandoned", "attempts": 3, "last_status": None}
    ]


@pytest.mark.parametrize(
    ("path", "field", "topics"),
    [
        ("/webhooks", "events", ["job.succeeded", "job.failed"]),
        ("/webhooks/endpoints", "topics", ["task.succeeded", "task.failed"]),
        ("/webhooks", "events", []),
    ],
)
def test_a_registered_endpoint_gets_every_job(
    sink: Sink, path: str, field: str, topics: list[str]
) -> None:
    """Once, even where the job names the same URL; and no more once it is deleted."""
    with running(instant=True) as sandbox:
        created = sandbox.post({"url": sink.url, field: topics}, path=path)
        assert created.status_code == 201
        endpoint = created.json()
        assert (endpoint["object"], endpoint["status"]) == ("webhook_endpoint", "active")
        assert endpoint[field] == topics
        assert sandbox.client.get(path).json() == [endpoint]
        sandbox.create(webhook_url=sink.url)
        sandbox.create()
        wait_for(lambda: len(sink.received) == 2)
        assert sandbox.client.delete(f"{path}/{endpoint['id']}").json() == endpoint
        sandbox.run()
        assert sandbox.summary()["deliveries"]["planned"] == 2


def test_an_endpoint_gets_the_events_it_asked_for(sink: Sink) -> None:
    """An endpoint for failures gets no successes."""
    faults = {"jobs": [{"match": {"input": "*bad*"}, "action": "fail_always"}]}
    with running(instant=True, faults=faults) as sandbox:
        sandbox.post({"url": sink.url, "events": ["job.failed"]}, path="/webhooks")
        sandbox.run()
        bad = sandbox.create(input="s3://library/bad.mp4")
        assert wait_for(lambda: sink.received)[0].body["id"] == bad
        assert sandbox.summary()["deliveries"]["planned"] == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "http://example.com"}, "url"),
        ({"url": "https://example.com", "events": "job.failed"}, "events"),
    ],
)
def test_a_wrong_endpoint_is_refused(instant: Running, body: dict[str, object], field: str) -> None:
    """The field is named."""
    answer = instant.post(body, path="/webhooks")
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(f"{field}: ")


def test_endpoints_are_bounded() -> None:
    """There are at most a hundred."""
    with running(instant=True) as sandbox:
        for n in range(100):
            body = {"url": f"https://example.com/{n}"}
            assert sandbox.post(body, path="/webhooks").status_code == 201
        assert sandbox.post({"url": "https://example.com"}, path="/webhooks").status_code == 400


def test_a_redelivery_comes_on_request(instant: Running, sink: Sink) -> None:
    """The same bytes once more."""
    job_id = instant.create(webhook_url=sink.url)
    wait_for(lambda: sink.received)
    answer = instant.client.post(f"/_sandbox/redeliver/{job_id}")
    assert answer.json() == {"id": job_id, "redelivered_to": 1}
    wait_for(lambda: len(sink.received) == 2)
    assert sink.received[0].raw == sink.received[1].raw
    assert httpx.post(f"{instant.url}/_sandbox/redeliver/nothing").status_code == 404
