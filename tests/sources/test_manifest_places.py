"""Manifests in a bucket and on a web server."""

from typing import TYPE_CHECKING

import pytest

from ittybatch.sources import ManifestSource, Page, SourceError, read_pages
from tests.sources.conftest import Site

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


def test_a_connection_that_keeps_breaking_is_an_error(site: Site) -> None:
    """Not the end of the manifest."""
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
def test_a_refusal_names_status_but_not_signature(site: Site, status: int) -> None:
    """The URL is shown without its query."""
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
