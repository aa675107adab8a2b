"""One bucket and one manifest with everything that people's libraries hold beside media."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "library"

MEDIA = (
    "in/2026/01/interview.mov",
    "in/2026/01/Über den Wolken.mp4",
    "in/2026/02/launch.mp4",
    "in/podcast/episode 7.wav",
)
# Two keys that are cleaned into one destination.
MEETING = ("in/2026/02/cut.mov", "in/2026/02//cut.mov")
LITTER = (
    "in/",
    "in/.DS_Store",
    "in/2026/01/._interview.mov",
    "in/.Trashes/old.mov",
    "in/2026/Thumbs.db",
    "in/@eaDir/launch.mp4",
    "in/2026/02/upload.mp4.part",
    "in/web/hls/index.m3u8",
    "in/web/hls/seg_0001.ts",
    "in/web/dash/init.m4s",
)
ARCHIVED = ("in/2019/archive.mov",)
EMPTY = ("in/2026/02/empty.mp4",)

PROFILE = """\
description: A small video of everything.
renditions:
  - name: small
    kind: video
    options: {format: mp4, height: 480}
    destination: s3://outputs/{key}/{rendition}.{ext}
"""

COLUMNS = "input,kind,options,size_bytes,metadata.show,notes"
ROWS = (
    # As pandas, spreadsheets and databases write a good row.
    f"s3://{BUCKET}/a.mov,,,48230912.0,News,",
    f's3://{BUCKET}/b.mov,Video,"{{""width"": 640}}",NULL,News,',
    f'"s3://{BUCKET}/c.mov",,,nan,"Two\nlines",a note that nobody reads',
    ",,,,,",
    # What cannot be an item, each for its own reason.
    "media/d.mov,,,,News,",
    "https://me:secret@example.com/e.mov,,,,News,",
    f"s3://{BUCKET}/f.mov,vidio,,,News,",
    f's3://{BUCKET}/g.mov,audio,"{{""width"": 1}}",,News,',
    f's3://{BUCKET}/h.mov,,,,"never closed,',
    f"s3://{BUCKET}/i.mov,,,,News,",
)


def fill(client: "S3Client") -> None:
    """Make the bucket, with every kind of litter in it."""
    client.create_bucket(Bucket=BUCKET)
    for key in (*MEDIA, *MEETING, *LITTER):
        client.put_object(Bucket=BUCKET, Key=key, Body=b"x" * 1000)
    for key in EMPTY:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"")
    for key in ARCHIVED:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"x" * 1000, StorageClass="DEEP_ARCHIVE")


def write_manifest(path: Path) -> None:
    """Write a manifest with every kind of row."""
    path.write_text("\n".join((COLUMNS, *ROWS)) + "\n", encoding="utf-8")
