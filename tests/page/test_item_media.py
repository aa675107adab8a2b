"""The media of an item: signed addresses of objects, what became of them, and their playlists."""

import os
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from ittybatch.ittybit.options import Kind
from ittybatch.ledger import Ledger
from tests.page.seen import item_with
from tests.page.steering import Page, words
from tests.receiver.harness import Running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client


BUCKET = "item-page"
SOURCE = f"s3://{BUCKET}/in/film.mov"
ERROR = {"kind": "invalid_input", "message": "no video stream"}


@pytest.fixture
def ledger_url(sqlite_url: str) -> str:
    """On SQLite alone: tests/ledger reads items on both databases."""
    return sqlite_url


@pytest.fixture(scope="module")
def s3() -> "Iterator[S3Client]":
    """A real S3 server, to which the environment leads the receiver."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "test-key",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():
            patch.setenv(name, value)
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="in/film.mov", Body=bytes(range(100)))
        yield client
        client.close()
    server.stop()


def test_an_object_is_reached_through_a_signed_address(
    s3: "S3Client", ledger: Ledger, receiver: Running
) -> None:
    """It is valid for an hour, also for a part of the object, and is on no page."""
    del s3
    scene = item_with(ledger, SOURCE, [("small", Kind.VIDEO)])
    page = Page(receiver)
    assert "X-Amz" not in page.get(scene.path)
    answer = page.request("GET", f"/page/media/{scene.job('small')}/source")
    assert answer.status_code == 302
    assert answer.headers["cache-control"] == "no-store"
    signed = answer.headers["location"]
    query = parse_qs(urlsplit(signed).query)
    assert query["X-Amz-Expires"] == ["3600"]
    part = httpx.get(signed, headers={"Range": "bytes=10-19"}, trust_env=False)
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))


def test_only_addresses_of_the_ledger_are_led_to(ledger: Ledger, receiver: Running) -> None:
    """A signed web address as it is; nothing that a browser would run; no other address at all."""
    signed = "https://cdn.test/a.mp4?Expires=1&Signature=2"
    outputs = {
        "signed": signed,
        "script": "javascript:alert(1)",
        "host": "//evil.test/a.mp4",
        "user": "https://me:pw@cdn.test/a.mp4",
        "ftp": "ftp://cdn.test/a.mp4",
        "bucket": "s3://fast--usw2-az1--x-s3/a.mp4",
    }
    scene = item_with(ledger, SOURCE, [(name, Kind.VIDEO) for name in outputs])
    page = Page(receiver)
    for name, output in outputs.items():
        receiver.post(scene.made(name, output))
        answer = page.request("GET", f"/page/media/{scene.job(name)}/output")
        assert answer.status_code == (302 if name == "signed" else 404), name
        assert answer.headers.get("location") == (signed if name == "signed" else None)
    malformed = f"/page/media/{scene.job('bucket')}/output"
    assert page.request("GET", f"{malformed}/playlist").status_code == 404
    assert "not the address of an object" in words(page.get(f"{malformed}/state"))
    path = f"/page/media/{scene.job('signed')}/output"
    assert page.request("GET", f"{path}?url=https://evil.test").headers["location"] == signed
    for other in ("/page/media/999999/output", f"{path}s", "/page/media/%2e%2e/source"):
        assert page.request("GET", other).status_code == 404
    crossing = page.request("GET", path, headers={"Sec-Fetch-Site": "cross-site"})
    assert crossing.status_code == 403


def test_a_look_says_what_became_of_an_object(
    s3: "S3Client", ledger: Ledger, receiver: Running
) -> None:
    """Deleted, archived, of another format, or as it should be."""
    s3.put_object(Bucket=BUCKET, Key="out/cold.mp4", Body=b"x", StorageClass="GLACIER")
    s3.put_object(Bucket=BUCKET, Key="out/page.mp4", Body=b"<html>")
    s3.put_object(Bucket=BUCKET, Key="out/film.mp4", Body=b"\0\0\0\x18ftypmp42")
    names = ("gone", "cold", "page", "film")
    scene = item_with(ledger, SOURCE, [(name, Kind.VIDEO) for name in (*names, "refused")])
    for name in names:
        receiver.post(scene.made(name, f"s3://{BUCKET}/out/{name}.mp4", format="mp4"))
    page = Page(receiver)
    said = {name: words(page.get(f"/page/media/{scene.job(name)}/output/state")) for name in names}
    assert "no longer exists" in said["gone"]
    assert "archived in GLACIER" in said["cold"]
    assert f"aws s3api restore-object --bucket {BUCKET} --key out/cold.mp4" in said["cold"]
    assert "wrong format" in said["page"]
    assert "The output is as expected" in said["film"]
    source = f"/page/media/{scene.job('film')}/source/state"
    assert "If it does not play here, this browser" in words(page.get(source))
    receiver.post(scene.webhook("refused", "failed", error=ERROR))
    assert "If it does not play here, the file is damaged" in words(page.get(source))


def test_hls_in_a_bucket_has_signed_segments(
    s3: "S3Client", ledger: Ledger, receiver: Running
) -> None:
    """Those that its playlists list, and no other object of the bucket."""
    s3.put_object(Bucket=BUCKET, Key="hls/main.m3u8", Body=b"#EXTM3U\nv0.m3u8\n")
    s3.put_object(Bucket=BUCKET, Key="hls/v0.m3u8", Body=b"#EXTM3U\nv0_000.ts\n")
    s3.put_object(Bucket=BUCKET, Key="hls/other.m3u8", Body=b"#EXTM3U\nsecret.ts\n")
    scene = item_with(ledger, SOURCE, [("hls", Kind.ADAPTIVE_VIDEO), ("film", Kind.VIDEO)])
    receiver.post(scene.made("hls", f"s3://{BUCKET}/hls/main.m3u8"))
    receiver.post(scene.made("film", f"s3://{BUCKET}/in/film.mov"))
    page = Page(receiver)
    route = f"/page/media/{scene.job('hls')}/output/playlist"
    assert f'src="{route}"' in page.get(scene.path)
    assert f"{route}/v0.m3u8" in page.get(route)
    [_, segment] = page.get(f"{route}/v0.m3u8").split()
    assert "/hls/v0_000.ts?" in segment
    assert "X-Amz-Signature" in segment
    page.get(f"{route}/other.m3u8", 404)
    assert page.request("GET", f"{route}/..%2fin/film.mov").status_code == 404
    not_a_playlist = f"/page/media/{scene.job('film')}/output/playlist"
    assert page.request("GET", not_a_playlist).status_code == 409
