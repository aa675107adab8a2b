"""Fixtures: sandboxes, webhook sinks, media and buckets, all on loopback."""

from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.harness import Running, Sink, make_media, running, serving

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="module")
def instant() -> Iterator[Running]:
    """A sandbox that encodes nothing."""
    with running(instant=True) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def encoding() -> Iterator[Running]:
    """A sandbox that encodes."""
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A server that receives webhooks."""
    with Sink().listening() as sink:
        yield sink


@pytest.fixture(scope="session")
def media_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of film with sound, without sound, sound alone, and a picture."""
    folder = tmp_path_factory.mktemp("media")
    film = ("-f", "lavfi", "-i", "testsrc=duration=2:size=128x96:rate=10")
    sound = ("-f", "lavfi", "-i", "sine=duration=2")
    h264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-preset", "ultrafast")
    make_media(folder / "clip.mp4", *film, *sound, *h264, "-c:a", "aac")
    make_media(folder / "silent.mp4", *film, *h264)
    bars = ("-f", "lavfi", "-i", "smptehdbars=duration=2:size=128x96:rate=10")
    make_media(folder / "still.mp4", *bars, *h264)
    make_media(folder / "tone.wav", *sound)
    make_media(folder / "red left.png", "-f", "lavfi", "-i", "color=red:s=60x40", "-frames:v", "1")
    (folder / "notes.mp4").write_text("this is not a video\n" * 50)
    (folder / "empty.mp4").touch()
    (folder / "cut.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:3000])
    return folder


@pytest.fixture(scope="session")
def media_url(media_dir: Path) -> Iterator[str]:
    """Where the media are served."""

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            return str(media_dir / Path(super().translate_path(path)).name)

        def log_message(self, *_args: object) -> None:
            return

    with serving(Handler) as url:
        yield url


@pytest.fixture(scope="module")
def s3(media_dir: Path, modules_s3: "S3Client") -> "S3Client":
    """A bucket `library` with the film in it."""
    modules_s3.create_bucket(Bucket="library")
    modules_s3.upload_file(str(media_dir / "clip.mp4"), "library", "in/a clip#1.mp4")
    return modules_s3
