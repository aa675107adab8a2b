"""What the API accepts, and how it refuses the rest."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.sandbox.harness import Json, Running, running

GOOD: Json = {"input": "https://example.com/uploads/video.mov", "kind": "video"}


def without_sdk_times(task: Json) -> Json:
    """Leave out what the routes under `/tasks` add for the official SDK."""
    return {name: value for name, value in task.items() if name not in {"created", "updated"}}


def test_a_job_is_created_pending(instant: Running) -> None:
    """The answer is 201 and carries an id, `pending`, and what was sent."""
    answer = instant.post(GOOD | {"options": {"width": 1280}, "metadata": {"media_id": 7}})
    assert answer.status_code == 201
    job = answer.json()
    assert job["id"].startswith("task_")
    assert (job["status"], job["object"], job["kind"]) == ("pending", "job", "video")
    assert (job["options"], job["metadata"]) == ({"width": 1280}, {"media_id": 7})
    assert instant.ended(job["id"])["status"] == "succeeded"


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (None, "token_missing"),
        ("Basic sandbox-key", "token_missing"),
        ("Bearer", "token_missing"),
        ("Bearer another-key", "token_invalid"),
    ],
)
@pytest.mark.parametrize("path", ["/jobs", "/jobs/task_1", "/tasks/task_1", "/webhooks"])
def test_nobody_gets_in_without_the_key(
    instant: Running, header: str | None, kind: str, path: str
) -> None:
    """The answer is 401, and never says what the key is."""
    answer = httpx.get(instant.url + path, headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer.json()["kind"] == kind
    assert "sandbox-key" not in answer.text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": 5}, "input"),
        ({"input": "ftp://example.com/a.mp4"}, "input"),
        ({"input": "file:///etc/passwd"}, "input"),
        ({"input": "/etc/passwd"}, "input"),
        ({"input": "https://"}, "input"),
        ({"input": "http://[broken"}, "input"),
        ({"input": "s3://bucket"}, "input"),
        ({"input": "https://example.com/a\r\nX: y"}, "input"),
        ({"input": "https://example.com/" + "a" * 9000}, "input"),
        ({"kind": None}, "kind"),
        ({"kind": "film"}, "kind"),
        ({"kind": "probe"}, "kind"),
        ({"kind": ["video"]}, "kind"),
        ({"options": []}, "options"),
        ({"metadata": "x"}, "metadata"),
        ({"output": "https://example.com/out.mp4"}, "output"),
        ({"output": "s3://bucket"}, "output"),
        ({"webhook_url": "http://example.com/hook"}, "webhook_url"),
        ({"webhook_url": "http://10.0.0.1/hook"}, "webhook_url"),
        ({"webhook_url": "ftp://localhost/hook"}, "webhook_url"),
    ],
)
def test_a_wrong_field_is_named(instant: Running, change: Json, field: str) -> None:
    """The answer is 400 with a kind and a message that begins with the field."""
    answer = instant.post(GOOD | change)
    assert answer.status_code == 400
    assert answer.json()["kind"] == "invalid_input"
    assert answer.json()["message"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("kind", "options", "field"),
    [
        ("video", {"format": "mkv"}, "format"),
        ("video", {"codec": "vp8"}, "codec"),
        ("video", {"codec": "h264", "format": "webm"}, "codec"),
        ("video", {"codec": "vp9", "format": "mp4"}, "codec"),
        ("video", {"codec": "av1", "format": "mov"}, "codec"),
        ("video", {"quality": "best"}, "quality"),
        ("video", {"quality": 80}, "quality"),
        ("video", {"width": 0}, "width"),
        ("video", {"width": 8193}, "width"),
        ("video", {"width": True}, "width"),
        ("video", {"height": "50"}, "height"),
        ("video", {"height": "0%"}, "height"),
        ("video", {"fit": "stretch"}, "fit"),
        ("video", {"position": "middle"}, "position"),
        ("video", {"background": "black"}, "background"),
        ("video", {"fps": 0.5}, "fps"),
        ("video", {"fps": 61}, "fps"),
        ("video", {"bitrate": 299_999}, "bitrate"),
        ("video", {"bitrate": 60_000_001}, "bitrate"),
        ("video", {"start": -1}, "start"),
        ("video", {"start": 2, "end": 1}, "end"),
        ("audio", {"format": "mp4"}, "format"),
        ("audio", {"bitrate": 31_999}, "bitrate"),
        ("audio", {"bitrate": 320_001}, "bitrate"),
        ("audio", {"end": 0}, "end"),
        ("image", {"format": "gif"}, "format"),
        ("image", {"start": "two"}, "start"),
        ("animation", {"format": "mp4"}, "format"),
        ("animation", {"fps": 100}, "fps"),
        ("adaptive_video", {"format": "dash"}, "format"),
    ],
)
def test_a_wrong_option_is_named(instant: Running, kind: str, options: Json, field: str) -> None:
    """Ranges, words, and a codec against its container are all checked."""
    answer = instant.post(GOOD | {"kind": kind, "options": options})
    assert answer.status_code == 400
    assert answer.json()["kind"] == "invalid_input"
    assert answer.json()["message"].startswith(f"options.{field}: ")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("video", {"format": "mov", "codec": "h265", "fps": 60, "bitrate": 300_000}),
        ("video", {"width": "33.3%", "height": 8192, "fit": "cover", "position": "top-left"}),
        ("video", {"connection_id": "conn_abc123", "surprise": {"deep": [1]}}),
        ("audio", {"format": "opus", "bitrate": 320_000, "start": 0, "end": 0.5}),
        ("image", {"format": "avif", "start": 2.5, "background": "#fff", "fit": "contain"}),
        ("animation", {"format": "webp", "end": 3}),
        ("adaptive_video", {"quality": "very_high", "format": "hls"}),
    ],
)
def test_what_is_documented_or_unknown_is_accepted(
    instant: Running, kind: str, options: Json
) -> None:
    """Unknown fields are ignored wherever they stand, connections in all spellings too."""
    more = {"connection_id": "con_1", "connection": {"kind": "s3"}, "quality": "high", "x": None}
    answer = instant.post(GOOD | more | {"kind": kind, "options": options})
    assert answer.status_code == 201, answer.text
    assert instant.ended(answer.json()["id"])["status"] == "succeeded"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"{" * 5000])
def test_a_body_that_is_no_object_is_refused(instant: Running, raw: bytes) -> None:
    """Broken JSON is a bad request, not a failure."""
    answer = instant.client.post("/jobs", content=raw)
    assert answer.status_code == 400
    assert answer.json()["kind"] == "request_invalid"


def test_a_body_is_bounded_in_size_and_time() -> None:
    """What is declared too large, is too large after all, or never ends, is refused."""

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    with running(instant=True, max_body_bytes=1000, body_timeout_s=0.2) as sandbox:
        assert sandbox.post(GOOD | {"metadata": {"x": "y" * 1000}}).status_code == 413
        answer = sandbox.client.post("/jobs", content=endless())
        assert answer.json()["kind"] == "request_too_large"
        with socket.create_connection(("127.0.0.1", httpx.URL(sandbox.url).port or 0)) as slow:
            head = "POST /jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sandbox-key\r\n"
            slow.sendall(f"{head}Content-Length: 10\r\n\r\n".encode())
            assert slow.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/jobs/task_unknown", 404, "job_not_found"),
        ("GET", "/tasks/task_unknown", 404, "task_not_found"),
        ("GET", "/tasks/task_unknown_probe", 404, "task_not_found"),
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/jobs", 405, "method_not_allowed"),
        ("DELETE", "/webhooks/we_unknown", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_said_in_the_same_words(
    instant: Running, method: str, path: str, status: int, kind: str
) -> None:
    """Every error has a kind and a message."""
    answer = instant.client.request(method, path)
    assert (answer.status_code, answer.json()["kind"]) == (status, kind)
    assert answer.json()["message"]


def test_tasks_with_a_string_as_input_are_jobs(instant: Running) -> None:
    """The older name of a job works for creating, finding and its nested tasks."""
    created = instant.post(GOOD, path="/tasks")
    assert (created.status_code, created.json()["object"]) == (201, "job")
    job_id = created.json()["id"]
    instant.ended(job_id)
    job = instant.client.get(f"/tasks/{job_id}").json()
    assert without_sdk_times(job) == instant.job(job_id)
    for task in job["tasks"]:
        assert without_sdk_times(instant.client.get(f"/tasks/{task['id']}").json()) == task


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "probe", "input": {}}, "input.url"),
        ({"kind": "probe"}, "input.url"),
        ({"kind": "sing", "input": {"url": "https://example.com/a"}}, "kind"),
        ({"kind": "export", "input": {"url": "https://example.com/a"}}, "options.url"),
        (
            {"kind": "video", "input": {"url": "https://a.b/c"}, "options": {"fps": 0}},
            "options.fps",
        ),
    ],
)
def test_a_standalone_task_is_checked_too(instant: Running, body: Json, field: str) -> None:
    """Its input is an object with a URL, and an export needs a place."""
    answer = instant.post(body, path="/tasks")
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(f"{field}: ")


def test_an_instant_output_is_what_the_options_ask_for(instant: Running) -> None:
    """It is computed, plausible, and the same for the same request."""
    asked = {"width": 640, "format": "webm", "start": 1, "end": 3}
    first, second = (instant.run(options=asked)["tasks"][-1]["output"] for _ in range(2))
    assert (first["width"], first["height"], first["format"]) == (640, 360, "webm")
    assert first["duration"] == 2
    assert first["size"] == second["size"] > 0
    audio = instant.run(kind="audio", options={"format": "flac"})["tasks"][-1]["output"]
    assert "width" not in audio
    image = instant.run(kind="image", output="s3://out/a.webp", options={"format": "webp"})
    assert image["output"] == "s3://out/a.webp"
