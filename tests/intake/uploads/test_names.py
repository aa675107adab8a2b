"""Keys made from names that strangers chose."""

import re

import pytest

from ittybatch.intake.upload_names import guess_type, upload_key, with_suffix
from ittybatch.sources.entry import has_unseen
from ittybatch.sources.filters import is_hidden

KEY = re.compile(r"uploads/([0-9a-f]{32})-([^/]+)")


def name_of(filename: str, content_type: str = "video/mp4") -> str:
    """The part of a key that is made from a name; the rest has to be random and in the folder."""
    found = KEY.fullmatch(upload_key("uploads/", filename, content_type))
    assert found is not None
    return found[2]


@pytest.mark.parametrize(
    ("filename", "kept"),
    [
        ("holiday.mov", "holiday.mov"),
        ("My Holiday (1).MOV", "My-Holiday-1.mov"),
        ("résumé.mp4", "résumé.mp4"),
        ("夏休み.mp4", "夏休み.mp4"),
        ("../../etc/passwd.mp4", "passwd.mp4"),
        ("..\\..\\windows\\clip.mp4", "clip.mp4"),
        ("/absolute.mp4", "absolute.mp4"),
        (".hidden.mp4", "hidden.mp4"),
        ("..", "upload.mp4"),
        (".mp4", "mp4.mp4"),
        ("a\x00b\r\nc\u202e.mp4", "a-b-c.mp4"),
        ("clip.mp4?x=1&y=2#z", "clip.mp4-x-1-y-2-z.mp4"),
        ('"><script>.mp4', "script.mp4"),
        ("%2e%2e%2f.mp4", "2e-2e-2f.mp4"),
        ("\ud800.mp4", "upload.mp4"),
    ],
)
def test_a_name_becomes_a_safe_part_of_the_key(filename: str, kept: str) -> None:
    """Neither a path, nor hidden, nor with a character that hides something."""
    made = name_of(filename)
    assert made == kept
    assert not has_unseen(made)
    assert not is_hidden(f"uploads/{made}")
    made.encode()


@pytest.mark.parametrize(
    ("filename", "content_type", "suffix"),
    [
        ("clip", "video/quicktime", ".mov"),
        ("clip.exe", "video/mp4", ".mp4"),
        ("clip.part", "video/webm", ".webm"),
        ("clip.mkv", "video/x-matroska", ".mkv"),
        ("photo", "image/jpeg", ".jpg"),
        ("tune", "audio/mpeg", ".mp3"),
        ("master.mxf", "application/mxf", ".mxf"),
    ],
)
def test_the_type_gives_a_suffix_where_the_name_has_none_of_media(
    filename: str, content_type: str, suffix: str
) -> None:
    """Conditions of profiles read the medium from the suffix."""
    assert name_of(filename, content_type).endswith(suffix)


@pytest.mark.parametrize(
    ("filename", "content_type", "name"),
    [
        ("My interview.mp3", "audio/mpeg", "My interview.mp3"),
        ("Holiday.JPEG", "image/jpeg", "Holiday.JPEG"),
        ("still.png", "image/png", "still.png"),
        ("song.m4a", "audio/x-m4a", "song.m4a"),
        ("Our film", "video/quicktime", "Our film.mov"),
        ("part 1.5", "video/mp4", "part 1.5.mp4"),
        ("film.mp4", "audio/mpeg", "film.mp4.mp3"),
        ("", "image/gif", "upload.gif"),
    ],
)
def test_a_name_gets_the_suffix_of_its_type_unless_it_has_one(
    filename: str, content_type: str, name: str
) -> None:
    """A form without script asks for both, because a browser sends neither."""
    assert with_suffix(filename, content_type) == name


def test_a_long_name_is_cut() -> None:
    """A key may have 1,024 bytes."""
    key = upload_key("uploads/", f"{'語' * 900}.mp4", "video/mp4")
    assert len(key.encode()) < 400
    assert key.endswith(".mp4")


def test_two_files_of_one_name_have_two_keys() -> None:
    """Also without their folder and suffix, from which destinations are made."""
    keys = {upload_key("", "IMG_0001.MOV", "video/quicktime") for _ in range(100)}
    assert len({key.rpartition("/")[2].partition(".")[0] for key in keys}) == 100


@pytest.mark.parametrize(
    ("filename", "guessed"),
    [
        ("a.mov", "video/quicktime"),
        ("a.MP4", "video/mp4"),
        ("a.mkv", "video/x-matroska"),
        ("a.jpeg", "image/jpeg"),
        ("a.m4a", "audio/mp4"),
        ("a", None),
        ("a.unknown", None),
    ],
)
def test_the_name_tells_the_type_that_a_browser_does_not_know(
    filename: str, guessed: str | None
) -> None:
    """Browsers leave the type empty for formats that they cannot play."""
    assert guess_type(filename) == guessed
