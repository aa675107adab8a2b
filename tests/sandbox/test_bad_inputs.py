"""What cannot be made into anything: a true reason, and nothing of this machine given away."""

import struct
import time
import zlib
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.sandbox.harness import Json, Running, running, serving


def failure(job: Json) -> tuple[str, str]:
    assert job["status"] == "failed", job
    error = job["error"]
    assert "/tmp" not in error["message"]
    assert len(error["message"]) < 400
    return error["kind"], error["message"]


@pytest.mark.parametrize(
    ("kind", "source", "reason"),
    [
        ("video", "notes.mp4", "could not decode the input: "),
        ("image", "empty.mp4", "could not decode the input: "),
        ("audio", "cut.mp4", "could not decode the input: "),
        ("audio", "silent.mp4", "the input has no audio"),
        ("video", "tone.wav", "the input has no video"),
        ("image", "tone.wav", "the input has no picture"),
        ("animation", "tone.wav", "the input has no video"),
        ("video", "missing.mp4", "could not fetch the input: the server answered 404"),
    ],
)
def test_a_bad_input_fails_for_a_true_reason(
    encoding: Running, media_url: str, kind: str, source: str, reason: str
) -> None:
    """The same job would fail again, so the kind is `invalid_input`."""
    found = failure(encoding.run(input=f"{media_url}/{source}", kind=kind))
    assert found[0] == "invalid_input"
    assert found[1].startswith(reason)


@pytest.mark.parametrize("kind", ["video", "image", "audio"])
def test_a_moment_beyond_the_end_is_said_so(encoding: Running, media_url: str, kind: str) -> None:
    """Both times are in the reason."""
    job = encoding.run(input=f"{media_url}/clip.mp4", kind=kind, options={"start": 60})
    assert failure(job) == ("invalid_input", "start is 60 s, but the input ends at 2 s")


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{}'\n",
        "ffconcat version 1.0\nfile 'file:{}'\n",
        "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nconcat:file:///etc/passwd|{}\n",
    ],
)
def test_an_input_cannot_read_other_files(
    encoding: Running, media_dir: Path, media_url: str, content: str
) -> None:
    """A playlist of local files is no media, even though the files exist."""
    (media_dir / "hostile.m3u8").write_text(content.format(media_dir / "clip.mp4"))
    kind, message = failure(encoding.run(input=f"{media_url}/hostile.m3u8"))
    assert kind == "invalid_input"
    assert "root:" not in message


def test_an_input_cannot_reach_other_addresses(
    encoding: Running, media_dir: Path, media_url: str
) -> None:
    """A playlist of URLs makes no requests."""
    asked: list[str] = []

    class Inside(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_args: object) -> None:
            return

    with serving(Inside) as url:
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{url}/secret.ts\n"
        (media_dir / "reach.m3u8").write_text(playlist)
        failure(encoding.run(input=f"{media_url}/reach.m3u8"))
    assert asked == []


def test_a_picture_of_enormous_size_is_refused(
    encoding: Running, media_dir: Path, media_url: str
) -> None:
    """A few bytes that claim billions of pixels do not fill the memory."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    raw = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    (media_dir / "bomb.png").write_bytes(raw)
    failure(encoding.run(input=f"{media_url}/bomb.png", kind="image", options={"width": 32}))


class _Endless(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/busy":
            self.send_error(503)
            return
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(1000):
                self.wfile.write(b"x" * 10_000)
                time.sleep(0.05 if self.path == "/slow" else 0)
        except OSError:
            return

    def log_message(self, *_args: object) -> None:
        return


@pytest.mark.parametrize(
    ("path", "kind", "reason"),
    [
        ("/large", "invalid_input", "it is larger than 100000 bytes"),
        ("/slow", "internal_error", "it took longer than 0.3 s"),
        ("/busy", "internal_error", "the server answered 503"),
    ],
)
def test_a_download_is_bounded(path: str, kind: str, reason: str) -> None:
    """In size and time; what may be better tomorrow is not the input's fault."""
    with (
        serving(_Endless) as url,
        running(max_input_bytes=100_000, download_timeout_s=0.3) as sandbox,
    ):
        found = failure(sandbox.run(input=url + path))
    assert found == (kind, f"could not fetch the input: {reason}")


def test_nobody_at_the_other_end_may_be_temporary(encoding: Running) -> None:
    """A refused connection is not the input's fault."""
    with serving(_Endless) as url:
        pass
    kind, message = failure(encoding.run(input=f"{url}/a.mp4"))
    assert (kind, message) == (
        "internal_error",
        "could not fetch the input: ClientConnectorError",
    )


def test_an_encode_that_takes_too_long_is_killed(media_url: str) -> None:
    """The next job gets its turn."""
    with running(encode_timeout_s=0.01, max_encodes=1) as sandbox:
        jobs = [sandbox.run(input=f"{media_url}/clip.mp4") for _ in range(2)]
    for job in jobs:
        assert failure(job) == ("internal_error", "encoding took longer than 0.01 s")


@pytest.mark.parametrize(
    "path", ["/files/../journal.jsonl", "/files/%2e%2e/%2e%2e/etc/passwd", "/files//etc/passwd"]
)
def test_only_outputs_are_served(encoding: Running, path: str) -> None:
    """No path leads out of the folder of outputs."""
    assert encoding.client.get(path).status_code == 404
