"""Manifests in a folder, in a bucket and on a web server."""

import gzip
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ittybatch.errors import ConfigurationError
from ittybatch.sources import ManifestSource, Page, SourceError, SqlSource, read_pages
from tests.sources.conftest import Site
from tests.sources.manifests import ROWS as MIXED
from tests.sources.manifests import WRITERS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROWS = 40_000
CONTENT = b"input\n" + b"".join(b"s3://media/in/%d.mov\n" % n for n in range(ROWS))


def read(uri: str, cursor: str | None = None, page_size: int = 5000) -> list[Page]:
    return list(read_pages(ManifestSource(uri=uri), cursor=cursor, page_size=page_size))


def lines(pages: list[Page]) -> list[int | None]:
    return [item.line for page in pages for item in page.items]


ALL = list(range(2, ROWS + 2))


def test_a_manifest_in_a_bucket_is_streamed(s3: "S3Client", bucket: str) -> None:
    """And read on from any page, the last one included."""
    s3.put_object(Bucket=bucket, Key="list 1?.csv", Body=CONTENT)
    uri = f"s3://{bucket}/list 1?.csv"
    pages = read(uri)
    assert lines(pages) == ALL
    assert lines(pages[:3]) + lines(read(uri, pages[2].cursor)) == ALL
    assert read(uri, pages[-1].cursor) == []


def test_a_manifest_replaced_in_its_bucket_is_refused(s3: "S3Client", bucket: str) -> None:
    """Its ETag tells."""
    s3.put_object(Bucket=bucket, Key="list.csv", Body=CONTENT)
    first, *_ = read(f"s3://{bucket}/list.csv")
    s3.put_object(Bucket=bucket, Key="list.csv", Body=CONTENT.replace(b"0.mov", b"1.mov"))
    with pytest.raises(SourceError, match="has changed"):
        read(f"s3://{bucket}/list.csv", first.cursor)


@pytest.mark.parametrize("name", ["missing.csv", "folder/missing.csv"])
def test_a_manifest_missing_from_its_bucket_is_an_error(
    s3: "S3Client", bucket: str, name: str
) -> None:
    """Named, with the reason."""
    del s3
    with pytest.raises(SourceError, match=rf"s3://{bucket}/{name} cannot be read: NoSuchKey"):
        read(f"s3://{bucket}/{name}")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_manifest_on_the_web_is_streamed(site: Site, ranges: bool) -> None:
    """And read on, from servers that can skip and from those that cannot."""
    site.content, site.ranges = CONTENT, ranges
    pages = read(f"{site.url}/list.csv?sig=1")
    assert lines(pages) == ALL
    again = read(f"{site.url}/list.csv?sig=2", pages[2].cursor)
    assert lines(pages[:3]) + lines(again) == ALL
    assert read(f"{site.url}/list.csv?sig=3", pages[-1].cursor) == []
    assert "sig" not in pages[0].cursor


def test_a_connection_that_breaks_is_made_again(site: Site) -> None:
    """At the byte where it broke."""
    site.content, site.cut = CONTENT, 1
    assert lines(read(f"{site.url}/list.csv")) == ALL
    assert len(site.asked) == 2
    assert site.asked[1] is not None


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places that do not answer are given up after a second."""
    monkeypatch.setenv("ITTYBATCH_SOURCE_RETRY_S", "1")


def test_a_server_that_cuts_each_answer_short_is_read_to_the_end(
    site: Site, impatient: None
) -> None:
    """Each answer gets further, however many it takes, and is of the same file."""
    del impatient
    site.content, site.cut = CONTENT, 99
    assert lines(read(f"{site.url}/list.csv")) == ALL
    assert len(site.asked) > 10
    assert set(site.matches[1:]) == {site.etag}


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_in_trouble_is_asked_again(site: Site, status: int) -> None:
    """After the time that it asks for."""
    site.content, site.failures, site.headers = CONTENT, [status] * 2, {"Retry-After": "1"}
    started_s = time.monotonic()
    assert lines(read(f"{site.url}/list.csv")) == ALL
    assert time.monotonic() - started_s >= 2
    assert len(site.asked) == 3


@pytest.mark.parametrize("encoding", ["gzip", "aws-chunked", "gzip, aws-chunked", ""])
@pytest.mark.parametrize("packed", [True, False])
def test_packed_content_is_told_by_its_first_bytes(site: Site, encoding: str, packed: bool) -> None:
    """Whatever the server calls it."""
    site.content = gzip.compress(CONTENT, mtime=0) if packed else CONTENT
    site.headers = {"Content-Encoding": encoding} if encoding else {}
    pages = read(f"{site.url}/list.csv")
    assert lines(pages) == ALL
    assert lines(read(f"{site.url}/list.csv", pages[2].cursor)) == ALL[15_000:]


@pytest.mark.parametrize("name", ["list.xlsx", "list.parquet"])
def test_a_workbook_may_be_packed_on_the_way(site: Site, name: str) -> None:
    """As text may."""
    site.content = gzip.compress(WRITERS[name][0](MIXED), mtime=0)
    site.headers = {"Content-Encoding": "gzip"}
    (page,) = read(f"{site.url}/{name}")
    assert len(page.items) == len(page.rejects) == len(MIXED) // 2


def test_content_that_cannot_be_unpacked_says_so(site: Site) -> None:
    """Brotli has no first bytes of its own."""
    site.content, site.headers = CONTENT, {"Content-Encoding": "br"}
    with pytest.raises(SourceError, match="sent it as br, which cannot be unpacked"):
        read(f"{site.url}/list.csv")


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """Without a writer it would be waited for, for ever."""
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(SourceError, match="it is a pipe or a device"):
        read(str(tmp_path / "list.csv"))


def test_only_the_folders_of_the_setting_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by a path that leads out of them, nor by a link, nor as a database."""
    inside, outside = tmp_path / "in", tmp_path / "in-secret"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "list.csv").write_bytes(CONTENT)
    (inside / "link.csv").symlink_to(outside / "list.csv")
    monkeypatch.setenv("ITTYBATCH_FILE_DIRS", f"{tmp_path / 'other'}{os.pathsep}{inside}")
    assert lines(read(f"{inside}/list.csv")) == ALL
    for path in (outside / "list.csv", inside / "link.csv", inside / ".." / "in-secret/list.csv"):
        with pytest.raises(ConfigurationError, match="ITTYBATCH_FILE_DIRS"):
            read(str(path))
    for url in (f"sqlite:///{outside}/list.csv", f"sqlite:///file:{outside}/list.csv?uri=true"):
        source = SqlSource(database=url, query="SELECT 1 AS input")
        with pytest.raises(ConfigurationError, match="ITTYBATCH_FILE_DIRS"):
            list(read_pages(source))


def test_lines_of_a_file_that_is_no_manifest_are_not_shown(tmp_path: Path) -> None:
    """Neither in an error nor in a reject: it may be any file of the worker."""
    secret = "root:x:0:0:root:/root:/bin/bash"
    path = tmp_path / "passwd"
    path.write_text(f"{secret}\n" * 3, "utf-8")
    for fields in ({"format": "jsonl"}, {"header_row": 0}):
        with pytest.raises(SourceError, match="none of its 3 rows") as caught:
            list(read_pages(ManifestSource.model_validate({"uri": str(path), **fields})))
        assert "root:" not in str(caught.value)
    path.write_text('{"input": "s3://media/a.mov"}\n' + f"{secret}\n", "utf-8")
    (page,) = read_pages(ManifestSource(uri=str(path), format="jsonl"))
    assert [reject.row_excerpt for reject in page.rejects] == [""]


def test_a_connection_that_keeps_breaking_is_an_error(site: Site, impatient: None) -> None:
    """Not the end of the manifest."""
    del impatient
    site.content, site.cut, site.ranges = CONTENT, 99, False
    with pytest.raises(SourceError, match="cannot be read past byte"):
        read(f"{site.url}/list.csv")


def test_a_manifest_replaced_on_the_web_is_refused(site: Site) -> None:
    """Before a row of the new one is taken for one of the old."""
    site.content = CONTENT
    first, *_ = read(f"{site.url}/list.csv")
    site.etag = '"2"'
    with pytest.raises(SourceError, match="has changed"):
        read(f"{site.url}/list.csv", first.cursor)
    site.content, site.etag = CONTENT[:100], '"1"'
    with pytest.raises(SourceError, match=r"has become shorter|has changed"):
        read(f"{site.url}/list.csv", first.cursor)


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500, 503])
def test_a_refusal_names_status_but_not_signature(site: Site, impatient: None, status: int) -> None:
    """The URL is shown without its query."""
    del impatient
    site.status = status
    with pytest.raises(SourceError, match=rf"list.csv\?\.\.\. cannot be read.*{status}") as caught:
        read(f"{site.url}/list.csv?sig=s3cr3t")
    assert "s3cr3t" not in str(caught.value)


def test_redirects_are_followed_with_care(site: Site) -> None:
    """A few, and never to another machine in the clear."""
    site.content = CONTENT
    assert lines(read(f"{site.url}/redirect.csv")) == ALL
    with pytest.raises(SourceError, match="redirected more than 5 times"):
        read(f"{site.url}/loop.csv")
    with pytest.raises(
        SourceError, match=r"http://192.0.2.1/file.csv cannot be read: .*not on HTTPS"
    ):
        read(f"{site.url}/away.csv")


def test_a_manifest_in_the_clear_must_be_on_this_machine() -> None:
    """Anybody on the way could order jobs."""
    with pytest.raises(SourceError, match="not on HTTPS"):
        read("http://192.0.2.1/list.csv")


def test_a_server_that_is_not_there_is_an_error() -> None:
    """Named, with the remedy."""
    with pytest.raises(SourceError, match=r"cannot be read past byte 0.*Check the network"):
        read("http://127.0.0.1:1/list.csv")


@pytest.mark.parametrize("host", ["exam..ple", "a" * 64 + ".test", "xn--", "", "["])
def test_a_host_that_cannot_exist_is_an_error(site: Site, host: str) -> None:
    """In the manifest's own URL, and where a server redirects to."""
    site.status, site.headers = 302, {"Location": f"https://{host}/list.csv?sig=s3cr3t"}
    with pytest.raises(SourceError, match=r"cannot be read: .*(no host|no URL)\. Check") as caught:
        read(f"{site.url}/list.csv")
    assert "s3cr3t" not in str(caught.value)
    if host not in {"", "["}:
        with pytest.raises(SourceError, match="its URL names no host"):
            read(f"https://{host}/list.csv")
