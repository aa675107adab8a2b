"""Which items a rendition is made for."""

from typing import Any

import pytest

from ittybatch.profiles import Item, Profile, ProfileError


def fits(when: dict[str, Any], item: Item, kind: str = "video") -> bool:
    options = {"end": 3} if kind == "animation" else {}
    rendition = {"name": "r", "kind": kind, "options": options, "when": when}
    profile = Profile.from_mapping({"name": "p", "renditions": [rendition]})
    made = profile.jobs_for(item) != []
    assert profile.fitting.of(item).excluded == (0 if made else 1)
    return made


@pytest.mark.parametrize(
    ("kind", "fitting"),
    [
        ("video", {"mov"}),
        ("audio", {"mov", "wav"}),
        ("image", {"mov", "heic"}),
        ("animation", {"mov"}),
        ("adaptive_video", {"mov", "wav"}),
    ],
)
def test_a_kind_is_made_from_what_it_can_be_made_from(kind: str, fitting: set[str]) -> None:
    """Without a condition, the suffix decides."""
    found = {
        suffix
        for suffix in ("mov", "wav", "heic", "txt", "svg")
        if fits({}, Item(f"s3://m/a.{suffix}"), kind)
    }
    assert found == fitting


def test_an_unknown_suffix_is_left_out_of_a_listing_only() -> None:
    """Whoever writes an item into a manifest has seen what it is."""
    assert not fits({}, Item("s3://m/blob"))
    assert fits({}, Item("s3://m/blob", line=7))
    assert not fits({}, Item("s3://m/photo.jpg", line=7))


def test_a_named_suffix_or_pattern_stands_for_itself() -> None:
    """It says what the file is where the suffix does not."""
    assert fits({"suffix": "RAW"}, Item("s3://m/film.raw"))
    assert not fits({"suffix": [".raw", "mov"]}, Item("s3://m/film.mp4"))
    assert fits({"glob": "*.bin"}, Item("s3://m/in/film.bin"))
    assert not fits({"glob": "in/*"}, Item("s3://m/out/a.mov"))


def test_a_size_is_held_against_its_limits() -> None:
    """Limits belong to the range; an unknown size fits no limit."""
    when = {"min_size": "10kB", "max_size": "1MiB"}
    assert not fits(when, Item("s3://m/a.mov", size_bytes=9_999))
    assert fits(when, Item("s3://m/a.mov", size_bytes=10_000))
    assert fits(when, Item("s3://m/a.mov", size_bytes=1_048_576))
    assert not fits(when, Item("s3://m/a.mov", size_bytes=1_048_577))
    assert not fits(when, Item("s3://m/a.mov"))


def test_everything_that_is_given_must_hold() -> None:
    """Conditions narrow each other."""
    when = {"media": "image", "suffix": "gif"}
    assert fits(when, Item("s3://m/a.gif"), "image")
    assert not fits(when, Item("s3://m/a.png"), "image")
    assert not fits(when, Item("s3://m/a.mov"), "image")


@pytest.mark.parametrize(
    "when",
    [
        {"min_size": "2MB", "max_size": "1MB"},
        {"suffix": ["a/b"]},
        {"suffix": [""]},
        {"suffix": ["tar.gz"]},
        {"glob": ""},
        {"min_size": -1},
        {"min_size": True},
        {"media": "text"},
        {"sufix": ["mov"]},
    ],
)
def test_a_condition_that_nothing_could_meet_is_refused(when: dict[str, Any]) -> None:
    """When it is loaded, not when a batch turns out empty."""
    with pytest.raises(ProfileError, match="when"):
        fits(when, Item("s3://m/a.mov"))
