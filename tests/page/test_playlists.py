"""Playlists of HLS in a private bucket: every address in them is signed, and no other."""

import pytest

from ittybatch.page.playlists import MAX_BYTES, UnusablePlaylist, lists, rewritten

MAIN = b"""#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",URI="audio/a.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=640x360
film_v0.m3u8
"""
SEGMENTS = b"""#EXTM3U\r
#EXT-X-MAP:URI="init.mp4"\r
#EXTINF:4,\r
film%20one_000.ts\r
#EXTINF:4,\r
https://cdn.test/film_001.ts\r
#EXT-X-ENDLIST\r
"""


def shown(playlist: bytes, folder: str = "out/") -> str:
    return rewritten(
        playlist, folder, sign=lambda key: f"signed:{key}", nested=lambda path: f"page:{path}"
    )


def test_segments_get_signed_addresses_and_playlists_the_pages() -> None:
    """Also those that a tag names; a web address stays as it is."""
    assert 'URI="page:audio/a.m3u8"' in shown(MAIN)
    assert "\npage:film_v0.m3u8\n" in shown(MAIN)
    found = shown(SEGMENTS)
    assert '#EXT-X-MAP:URI="signed:out/init.mp4"' in found
    assert "\nsigned:out/film one_000.ts\n" in found
    assert "\nhttps://cdn.test/film_001.ts\n" in found
    assert "\nsigned:film one_000.ts\n" in shown(SEGMENTS, "")
    assert lists(MAIN, "film_v0.m3u8")
    assert lists(MAIN, "audio/a.m3u8")
    assert not lists(MAIN, "other.m3u8")


@pytest.mark.parametrize(
    "line",
    [
        "../secret.ts",
        "a/../../secret.ts",
        "%2e%2e/secret.ts",
        "/secret.ts",
        "s3://bucket/secret.ts",
        "//host/secret.ts",
        "javascript:alert(1)",
        "data:text/html,x",
        '#EXT-X-KEY:METHOD=AES-128,URI="../key"',
        "https://[/a.ts",
    ],
)
def test_nothing_outside_its_folder_is_signed(line: str) -> None:
    """An output may be made by anyone who may send a job."""
    with pytest.raises(UnusablePlaylist):
        shown(b"#EXTM3U\n" + line.encode())


def test_what_is_no_playlist_is_refused() -> None:
    """A page would otherwise be a way to read any object."""
    for body in (
        b"<html>",
        b"",
        b"#EXTM3U\n" + b"a" * MAX_BYTES,
        b"#EXTM3U\n" + b"a.ts\n" * 2_001,
    ):
        with pytest.raises(UnusablePlaylist):
            shown(body)
