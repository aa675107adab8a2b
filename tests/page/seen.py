"""Items whose jobs have real files in a real store, for tests of what a browser shows."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from imageio_ffmpeg import get_ffmpeg_exe

from ittybatch.ittybit.options import Kind
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import finish_planning
from ittybatch.ledger.plan import PlannedItem, PlannedPage
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.submission import Submission, claim_due
from ittybatch.profiles import Item
from tests.ledger import library

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=12")
_SOUND = ("-f", "lavfi", "-i", "sine=frequency=440")
_H264 = ("-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", "12", "-c:a", "aac")
SECONDS = 6
_LENGTH = ("-t", str(SECONDS))
_RECIPES = {
    "film.mp4": (*_PICTURE, *_SOUND, *_H264, *_LENGTH, "-movflags", "+faststart"),
    "sound.mp3": (*_SOUND, *_LENGTH),
    "poster.webp": (*_PICTURE, "-frames:v", "1"),
    "moving.gif": (*_PICTURE, "-t", "1"),
    "hls/main.m3u8": (
        *(*_PICTURE, *_SOUND, *_H264, *_LENGTH, "-f", "hls", "-hls_time", "2"),
        *("-hls_playlist_type", "vod", "-master_pl_name", "main.m3u8"),
    ),
}


def make_files(folder: Path) -> None:
    """Make a film, a sound, a picture, an animation and an HLS package with ffmpeg."""
    (folder / "hls").mkdir(parents=True)
    for name, arguments in _RECIPES.items():
        # A main playlist is written beside the one that ffmpeg is asked for.
        target = "hls/v0.m3u8" if name.startswith("hls/") else name
        subprocess.run(
            [get_ffmpeg_exe(), "-loglevel", "error", *arguments, str(folder / target)],
            check=True,
            timeout=60,
        )


def upload(folder: Path, s3: "S3Client", bucket: str) -> None:
    """Put the files into a bucket of their own."""
    s3.create_bucket(Bucket=bucket)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            s3.upload_file(str(path), bucket, f"out/{path.relative_to(folder)}")


@dataclass(frozen=True, slots=True)
class Scene:
    """An item, and its jobs by rendition, which Ittybit has accepted as `task-0`, `task-1`, ..."""

    batch: str
    chunk: int
    jobs: dict[str, Submission]

    @property
    def path(self) -> str:
        """Address of its page."""
        return f"/page/items/{self.chunk}/0"

    def job(self, rendition: str) -> int:
        """The id of a job."""
        return self.jobs[rendition].job_id

    def webhook(self, rendition: str, status: str = "succeeded", **more: object) -> bytes:
        """What Ittybit sends about a job."""
        number = list(self.jobs).index(rendition)
        body = {"id": f"task-{number}", "status": status, "kind": "video", **more}
        return orjson.dumps(body)

    def made(self, rendition: str, url: str, **output: object) -> bytes:
        """What Ittybit sends about a job that has an output."""
        return self.webhook(rendition, output={"url": url, **output})


def item_with(
    ledger: Ledger, source: str, renditions: Sequence[tuple[str, Kind]], *, attempts: int = 1
) -> Scene:
    """Plan one item, send its jobs, and have Ittybit accept them.

    Args:
        ledger: The ledger.
        source: URI of the item.
        renditions: Name and kind of each job.
        attempts: Attempts that each job may take.
    """
    batch = library.new_batch(ledger).id
    specs = [
        library.job(source, rendition=name, kind=kind, input=source, attempts=attempts, backoff_s=0)
        for name, kind in renditions
    ]
    item = PlannedItem(Item(source, fingerprint="1", size_bytes=1_000_000), specs)
    page = PlannedPage([item], [], {"found": 1}, "end")
    ledger.write(plan_page, batch, page, after=None, chunk_size=100)
    ledger.write(finish_planning, batch)
    chunk = library.released_chunk(ledger, batch)
    sent = ledger.write(claim_due, chunk, 100)
    library.accept(ledger, sent)
    return Scene(
        batch, chunk, {spec.rendition: each for spec, each in zip(specs, sent, strict=True)}
    )
