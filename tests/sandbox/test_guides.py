"""The requests of Ittybit's guides, as they are printed there."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.sandbox.harness import Json, Running, Sink, running, wait_for

Receiver = Callable[[Json, Json], None]
VIDEO_HIGH = {"width": 1280, "format": "mp4", "quality": "high"}
BUCKET_METADATA = {"source_bucket": "my-media-bucket", "source_key": "uploads/video.mov"}


@pytest.mark.parametrize(
    "body",
    [
        {
            "input": "https://your-bucket.s3.amazonaws.com/uploads/video.mov",
            "kind": "video",
            "options": VIDEO_HIGH,
            "metadata": {"media_id": "ckx0"},
        },
        {
            "input": "https://example.com/uploads/video.mov",
            "kind": "image",
            "options": {"width": 640, "format": "webp", "start": 2},
            "webhook_url": "https://your-app.up.railway.app/webhooks/ittybit",
        },
        {
            "input": "https://example.com/uploads/video.mov",
            "kind": "video",
            "options": {"width": 480, "format": "mp4", "quality": "low"},
            "webhook_url": "https://your-app.up.railway.app/webhooks/ittybit",
        },
        {
            "input": "https://clippable-app.com/projects/edit-38271.mov",
            "kind": "video",
            "options": {"format": "mp4", "width": 1920},
            "webhook_url": "https://clippable-app.com/webhooks/ittybit",
        },
        {
            "input": "s3://my-media-bucket/uploads/video.mov",
            "kind": "video",
            "options": VIDEO_HIGH | {"connection_id": "conn_abc123"},
            "webhook_url": "https://xyz.lambda-url.us-east-1.on.aws/webhook",
            "metadata": BUCKET_METADATA,
        },
        {
            "input": "s3://my-media-bucket/uploads/video.mov",
            "kind": "audio",
            "options": {"connection_id": "conn_abc123", "format": "mp3", "quality": "medium"},
            "webhook_url": "https://xyz.lambda-url.us-east-1.on.aws/webhook",
            "metadata": BUCKET_METADATA,
        },
        {
            "input": "https://example.com/uploads/video.mp4",
            "kind": "video",
            "options": VIDEO_HIGH,
            "metadata": {"job_id": "your-uuid-here"},
        },
    ],
)
@pytest.mark.parametrize("path", ["/jobs", "/tasks"])
def test_a_published_request_works(instant: Running, body: Json, path: str) -> None:
    """It is answered with an id and `pending`, and the job succeeds."""
    # The webhooks of the guides go to other people's servers: theirs are left out here.
    answer = instant.post({k: v for k, v in body.items() if k != "webhook_url"}, path=path)
    assert answer.status_code == 201
    assert answer.json()["status"] == "pending"
    assert answer.json()["metadata"] == body.get("metadata", {})
    assert instant.ended(answer.json()["id"])["status"] == "succeeded"


def test_a_published_registration_works(instant: Running) -> None:
    """An endpoint for the whole project."""
    body = {
        "url": "https://your-project.supabase.co/functions/v1/ittybit-callback",
        "events": ["job.succeeded", "job.failed"],
    }
    answer = instant.post(body, path="/webhooks")
    assert answer.status_code == 201
    instant.client.delete(f"/webhooks/{answer.json()['id']}").raise_for_status()


def next_js_route(body: Json, rows: Json) -> None:
    """The route handler of the Next.js guide, line by line."""
    status, output, metadata = body.get("status"), body.get("output"), body.get("metadata") or {}
    if status == "completed" and metadata.get("media_id"):
        rows[metadata["media_id"]] = ("ready", (output or {}).get("url"))
    if status == "failed" and metadata.get("media_id"):
        rows[metadata["media_id"]] = ("failed", None)


def supabase_function(body: Json, rows: Json) -> None:
    """The Edge Function of the Supabase guide, line by line."""
    job_id = str((body.get("metadata") or {}).get("job_id"))
    if body.get("status") == "completed":
        rows[job_id] = ("ready", (body.get("output") or {}).get("url"))
    else:
        rows[job_id] = ("failed", (body.get("error") or {}).get("message"))


@pytest.mark.parametrize(
    ("receive", "name"), [(next_js_route, "media_id"), (supabase_function, "job_id")]
)
def test_receivers_that_read_completed_work(sink: Sink, receive: Receiver, name: str) -> None:
    """Both guides' receivers write the success and the failure with `--dialect completed`."""
    faults = {"jobs": [{"match": {"input": "*bad*"}, "action": "fail_always"}]}
    with running(instant=True, webhook_dialect="completed", faults=faults) as sandbox:
        for row in ("good", "bad"):
            metadata = {name: row}
            url = f"https://example.com/{row}.mov"
            sandbox.create(input=url, metadata=metadata, webhook_url=sink.url)
        wait_for(lambda: len(sink.received) == 2)
        url = sandbox.client.get("/jobs?input=https://example.com/good.mov").json()[0]["output"]
    rows: Json = {}
    for received in sink.received:
        receive(received.body, rows)
    assert rows["good"] == ("ready", url)
    reason = None if receive is next_js_route else "encoder was preempted"
    assert rows["bad"] == ("failed", reason)


def test_the_official_sdk_lists_its_tasks(instant: Running) -> None:
    """`tasks.list(page, limit)` gets a bare array, newest first, with ISO times."""
    made = [
        instant.post({"kind": "video", "input": f"https://example.com/{n}"}, path="/tasks").json()
        for n in range(5)
    ]
    headers = {"Accept-Version": "2025-08-20"}
    pages = [
        instant.client.get("/tasks", params={"page": page, "limit": 2}, headers=headers).json()
        for page in (1, 2, 3)
    ]
    ids = [task["id"] for page in pages for task in page]
    assert ids[:5] == [task["id"] for task in reversed(made)]
    shown = instant.client.get(f"/tasks/{made[0]['id']}").json()
    for task in (made[0], shown, pages[2][0]):
        created = datetime.fromisoformat(task["created"])
        assert created == datetime.fromtimestamp(task["created_at"] / 1000, UTC)
        assert datetime.fromisoformat(task["updated"]) >= created
    assert "created" not in instant.job(made[0]["id"])


def test_tasks_include_standalone_ones(instant: Running) -> None:
    """`GET /jobs` leaves them out; `GET /tasks` filters them by kind."""
    body = {"kind": "probe", "input": {"url": "https://example.com/a"}}
    task = instant.post(body, path="/tasks").json()
    listed = instant.client.get("/tasks?kind=probe").json()
    assert task["id"] in [each["id"] for each in listed]
    assert instant.client.get("/tasks?page=0").json()["message"].startswith("page: ")
    assert instant.client.get("/jobs?kind=probe").status_code == 400
