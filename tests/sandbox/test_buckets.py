"""S3 on both ends: inputs read from it, outputs written to it."""

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.sandbox.harness import Running

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SOURCE = "s3://library/in/a clip#1.mp4"


def test_an_object_goes_in_and_comes_out(s3: "S3Client", encoding: Running) -> None:
    """The output's URL is the place that was asked for, and the object is there."""
    job = encoding.run(
        input=SOURCE,
        kind="image",
        options={"connection_id": "conn_abc123", "format": "webp", "width": 64},
        output="s3://library/out/thumb.webp",
    )
    assert (job["status"], job["output"]) == ("succeeded", "s3://library/out/thumb.webp")
    stored = s3.get_object(Bucket="library", Key="out/thumb.webp")
    assert stored["ContentType"] == "image/webp"
    assert stored["Body"].read(4) == b"RIFF"


def test_an_output_in_a_folder_is_named_after_its_input(s3: "S3Client", encoding: Running) -> None:
    """A place that ends in a slash is a folder."""
    job = encoding.run(input=SOURCE, kind="audio", output="s3://library/folder/")
    assert job["output"].startswith("s3://library/folder/")
    assert job["output"].endswith(".mp3")
    key = job["output"].removeprefix("s3://library/")
    assert s3.head_object(Bucket="library", Key=key)["ContentLength"] > 0


def test_a_playlist_has_its_segments_beside_it(s3: "S3Client", encoding: Running) -> None:
    """Everything a player asks for next is in the same folder."""
    target = "s3://library/hls/film 1.m3u8"
    job = encoding.run(input=SOURCE, kind="adaptive_video", output=target)
    assert job["output"] == target
    found = s3.list_objects_v2(Bucket="library", Prefix="hls/")["Contents"]
    names = {entry["Key"].removeprefix("hls/") for entry in found}
    assert names == {"film 1.m3u8", "film_1_v0.m3u8", "film_1_v0_000.ts"}
    playlist = s3.get_object(Bucket="library", Key="hls/film 1.m3u8")["Body"].read().decode()
    assert "film_1_v0.m3u8" in playlist


def test_an_export_task_moves_a_file_into_a_bucket(
    s3: "S3Client", encoding: Running, media_url: str
) -> None:
    """Byte for byte."""
    body = {
        "kind": "export",
        "input": {"object": "file", "url": f"{media_url}/tone.wav"},
        "options": {"url": "s3://library/exported/tone.wav", "connection_id": "conn_abc123"},
    }
    created = encoding.post(body, path="/tasks")
    assert created.status_code == 201
    path = f"/tasks/{created.json()['id']}"
    while (task := encoding.client.get(path).json())["status"] in {"waiting", "processing"}:
        continue
    assert task["output"]["url"] == "s3://library/exported/tone.wav"
    stored = s3.get_object(Bucket="library", Key="exported/tone.wav")["Body"].read()
    assert stored == httpx.get(f"{media_url}/tone.wav").content


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input": "s3://library/missing.mp4"}, "could not fetch the input: S3 answered NoSuchKey"),
        ({"input": "s3://no-such-bucket/a.mp4"}, "could not fetch the input: S3 answered"),
        ({"output": "s3://no-such-bucket/a.mp3"}, "could not write the output: S3 answered"),
    ],
)
def test_what_the_bucket_refuses_fails_the_job(
    s3: "S3Client", encoding: Running, change: dict[str, str], reason: str
) -> None:
    """The reason is S3's own word."""
    assert s3
    job = encoding.run(**{"input": SOURCE, "kind": "audio"} | change)
    assert (job["status"], job["error"]["kind"]) == ("failed", "invalid_input")
    assert job["error"]["message"].startswith(reason)
