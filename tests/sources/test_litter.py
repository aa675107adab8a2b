"""What is left out of every source of objects: litter, by its name, counted by its rule."""

from typing import TYPE_CHECKING

import pytest

from ittybatch.sources import BucketSource, read_pages
from ittybatch.sources.filters import HIDDEN_HINTS, SEGMENT_HINTS, is_hidden, is_segment
from ittybatch.sources.rules import RULES, nothing_left

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HIDDEN = [
    ".DS_Store", "in/._clip.mov", "in/.cache/a.mov", "Thumbs.db", "in/thumbs.DB", "Desktop.ini",
    "in/@eaDir/a.mov/x.jpg", ".Trash-1000/a.mov", "~$deck.mov", "in/a.mov.tmp", "in/a.mov.PART",
    "in/a.mov.crdownload", "__MACOSX/a.mov", "$RECYCLE.BIN/a.mov", "#recycle/a.mov",
]  # fmt: skip
SEGMENTS = [
    "hls/seg_0001.ts", "a.m3u8", "dash/a.MPD", "x/chunk-1.m4s", "out/segment12.ts", "720p/0001.ts",
    "film/hls/anything.ts", "dash/init.mp4", "hls/en/seg-1.vtt", "fileSequence3.ts",
    "clip0.ts", "clip_v0_001.ts", "720p_003.ts", "in/hls_720/a_0001.ts", "1080_0012.TS",
    "720p/00000001.ts",
]  # fmt: skip
MEDIA = [
    "a.mov", "in/a..mov", "in/../a.mov", "in/~a.mov", "in/thumbs.db.mov", "in/hidden.mov",
    "in/recording.ts", "in/cam1-20260101.ts", "in/2024-05-01.ts", "in/20240501_1200.ts",
    "in/cam1-2024.05.01-7.ts", "in/1714564800.ts", "in/clip0.mov", "in/a1.mp4",
    "in/part.mov", "in/a.part.mov", "in/tmp.mov",
    "hls/master.mov", "dash/film.mp4", "in/seg_1.mov", "in/a.parts.mov", "in/#1.mov",
]  # fmt: skip


@pytest.mark.parametrize("path", HIDDEN)
def test_hidden_files_and_litter_are_no_media(path: str) -> None:
    """What file managers, desktops and browsers leave behind."""
    assert is_hidden(path)
    assert not is_segment(path, 5)
    assert any(hint in f"\n{path.lower()}\n" for hint in HIDDEN_HINTS)


@pytest.mark.parametrize("path", SEGMENTS)
def test_segments_and_playlists_are_outputs(path: str) -> None:
    """An encoder made them of something that is processed itself."""
    assert is_segment(path, 5)
    assert is_segment(path, None)
    assert not is_hidden(path)
    assert any(hint in f"\n{path.lower()}\n" for hint in SEGMENT_HINTS)


@pytest.mark.parametrize("path", MEDIA)
def test_media_that_only_looks_like_it_is_kept(path: str) -> None:
    """Recordings are transport streams, too, and people name files as they like."""
    assert not is_hidden(path)
    assert not is_segment(path, 5)


@pytest.mark.parametrize("path", ["00001.ts", "in/S01E02.ts", "cam1.ts", "clip0.ts"])
def test_a_number_alone_makes_no_segment_of_a_long_recording(path: str) -> None:
    """Cameras and receivers number their files, too; a segment is a few seconds."""
    assert is_segment(path, 64_000_000)
    assert not is_segment(path, 64_000_001)
    assert is_segment("out/seg_0001.ts", 64_000_001)


def test_each_rule_counts_what_it_leaves_out_and_can_be_switched_off(
    s3: "S3Client", bucket: str
) -> None:
    """So that a plan says what is missing from it, and how to have it."""
    for key in ("a.mov", "._a.mov", "hls/seg_1.ts", "b/"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"media")
    s3.put_object(Bucket=bucket, Key="empty.mov", Body=b"")
    uri = f"s3://{bucket}/"
    (page,) = read_pages(BucketSource(uri=uri), page_size=5000)
    assert [item.key for item in page.items] == ["a.mov"]
    assert page.filtered == {"folders": 1, "empty": 1, "hidden": 1, "segments": 1}
    include = ("hidden", "segments", "empty", "folders")
    (page,) = read_pages(BucketSource(uri=uri, include=include), page_size=5000)
    assert len(page.items) == 5
    assert page.filtered == {}


def test_a_folder_that_was_asked_for_is_not_hidden(s3: "S3Client", bucket: str) -> None:
    """Only what is below it can be."""
    s3.put_object(Bucket=bucket, Key=".uploads/a.mov", Body=b"media")
    (page,) = read_pages(BucketSource(uri=f"s3://{bucket}/.uploads/"))
    assert [item.key for item in page.items] == [".uploads/a.mov"]


def test_a_plan_that_is_empty_because_of_its_filters_says_so() -> None:
    """With each rule in words; an empty bucket is something else."""
    told = nothing_left({"found": 0, "filtered:glob": 3, "filtered:hidden": 1})
    assert told is not None
    assert told.startswith("Nothing is planned: the filters leave out everything")
    assert f"3 by `glob` ({RULES['glob']})" in told
    assert nothing_left({"found": 0}) is None
    assert nothing_left({"found": 1, "filtered:glob": 3}) is None
    assert nothing_left({"rejected": 1, "filtered:glob": 3}) is None
