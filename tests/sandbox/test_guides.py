"""The requests of Ittybit's guides, as they are printed there."""

import pytest

from tests.sandbox.harness import Json, Running

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
