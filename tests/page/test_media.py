"""What a page shows of a source or an output, from which address, and what it says otherwise."""

import pytest

from ittybatch.page.media import Element, medium_of

ROUTE = "/page/media/7/output"


@pytest.mark.parametrize(
    ("uri", "kind", "element", "link"),
    [
        ("s3://films/in/a.mov", None, Element.VIDEO, ROUTE),
        ("s3://films/in/a b?.MP4", None, Element.VIDEO, ROUTE),
        ("s3://films/out/a.mp3", "audio", Element.AUDIO, ROUTE),
        ("https://cdn.test/a.webp", "image", Element.IMAGE, "https://cdn.test/a.webp"),
        ("https://cdn.test/a.gif", "animation", Element.IMAGE, "https://cdn.test/a.gif"),
        ("https://cdn.test/a", "video", Element.VIDEO, "https://cdn.test/a"),
        ("https://cdn.test/a/master.m3u8", "adaptive_video", Element.HLS, None),
        ("https://b.test/a.mp4?X-Amz-Signature=1", "video", Element.VIDEO, ROUTE),
    ],
)
def test_what_a_browser_plays_has_an_element(
    uri: str, kind: str | None, element: Element, link: str | None
) -> None:
    """Objects, and addresses with a query, through the page's route; others directly."""
    found = medium_of(uri, ROUTE, kind=kind)
    assert found.shown
    assert found.element is element
    assert found.link == (link or uri)
    assert "Signature" not in f"{found.address}{found.link}"


@pytest.mark.parametrize(
    ("uri", "says", "link"),
    [
        ("javascript:alert(1)", "Only s3, http and https", None),
        ("data:text/html,<script>alert(1)</script>", "Only s3, http and https", None),
        ("https://a b/c.mp4", "Only s3, http and https", None),
        ("https://cdn.test/\u202e4pm.mp4", "Only s3, http and https", None),
        ("https://[::1/c.mp4", "Only s3, http and https", None),
        ("file:///etc/passwd", "Only s3, http and https", None),
        ("https://me:pw@cdn.test/a.mp4", "contains a user name", None),
        ("s3://KEY:SECRET@bucket/a.mp4", "not the address of an object", None),
        ("s3://films/in/", "a folder of a bucket", None),
        ("s3://films/in/a.avi", "No common browser shows .avi files", ROUTE),
        ("s3://films/in/a.tiff", "No common browser shows .tiff files", ROUTE),
        ("s3://films/in/a", "does not say what kind of file", ROUTE),
        ("http://cdn.test/a.mp4", "served over HTTPS, and the file over HTTP", None),
    ],
)
def test_what_is_not_shown_says_why(uri: str, says: str, link: str | None) -> None:
    """Only an address that a browser may open is linked, and passwords are never shown."""
    found = medium_of(uri, ROUTE, secure=True)
    assert not found.shown
    assert says in (found.problem or "")
    assert found.link == (link or (uri if uri.startswith("http://") else None))
    assert "pw" not in found.address
    assert "SECRET" not in found.address


def test_a_page_without_https_shows_files_without_https() -> None:
    """And this machine's own are shown anyway: browsers trust loopback."""
    assert medium_of("http://cdn.test/a.mp4", ROUTE).shown
    assert medium_of("http://127.0.0.1:9000/a.mp4", ROUTE, secure=True).shown


def test_a_very_large_picture_waits_until_somebody_asks_for_it() -> None:
    """Twenty of them on a page would be gigabytes."""
    assert medium_of("s3://films/a.png", ROUTE, size_bytes=90_000_000).heavy
    assert not medium_of("s3://films/a.png", ROUTE, size_bytes=90_000).heavy
    assert not medium_of("s3://films/a.mp4", ROUTE, size_bytes=90_000_000).heavy
