"""Uploading to the local S3."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ittybatch_local.errors import StackError
from ittybatch_local.ports import choose_ports
from ittybatch_local.s3 import Uploaded, upload


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    port = choose_ports(["s3"], tmp_path / "ports.json")["s3"]
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    yield {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
    }
    server.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "a.mp4").write_bytes(b"1234")
    (folder / "deep" / "b c.wav").write_bytes(b"12")
    (folder / ".recipes.json").write_bytes(b"no")
    (folder / ".hidden" / "x.mp4").write_bytes(b"no")
    return folder


def test_a_folder_is_copied_without_what_is_hidden(
    folder: Path, environment: dict[str, str]
) -> None:
    """A second upload is not an error."""
    for _ in range(2):
        uploaded = upload(folder, "only-uploads", "media/", environment=environment)
        assert uploaded == Uploaded(count=2, size_bytes=6)
    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="us-east-1",
    )
    listed = client.list_objects_v2(Bucket="only-uploads")["Contents"]
    assert [entry["Key"] for entry in listed] == ["media/a.mp4", "media/deep/b c.wav"]
    assert (
        client.head_object(Bucket="only-uploads", Key="media/a.mp4")["ContentType"] == "video/mp4"
    )


def test_a_refusal_names_folder_and_bucket(folder: Path, environment: dict[str, str]) -> None:
    """With S3's reason."""
    with pytest.raises(StackError, match=r"into 'B!': .*InvalidBucketName|Invalid bucket name"):
        upload(folder, "B!", environment=environment)


def test_only_a_local_s3_is_written_to(folder: Path) -> None:
    """Without a local endpoint, nothing is sent."""
    with pytest.raises(StackError, match="no local S3"):
        upload(folder, "only-uploads", environment={})


def test_a_missing_folder_is_named(tmp_path: Path, environment: dict[str, str]) -> None:
    """A misspelt folder is an error, not an empty library."""
    with pytest.raises(StackError, match="There is no folder"):
        upload(tmp_path / "nowhere", "only-uploads", environment=environment)
