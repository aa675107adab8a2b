"""The profiles that come with the project."""

from pathlib import Path

import pytest

from ittybatch.profiles import Item, Profile, list_profiles, load_profile
from ittybatch.settings import CHECKOUT

SHIPPED = CHECKOUT / "deployments" / "profiles"

pytestmark = pytest.mark.parametrize("name", ["podcast", "streaming", "web"])


def renditions_for(name: str, key: str) -> list[str]:
    profile = load_profile(name, SHIPPED)
    return [job.rendition for job in profile.jobs_for(Item(f"s3://media/{key}"))]


def test_a_shipped_profile_is_found_by_its_name(name: str) -> None:
    """Each is listed, and says what it is for."""
    assert name in list_profiles(SHIPPED)
    assert load_profile(name, SHIPPED).description


def test_a_shipped_profile_gives_a_video_its_jobs(name: str) -> None:
    """A film gets just the renditions that can be made from one."""
    expected = {
        "podcast": ["mp3", "opus", "aac"],
        "streaming": ["hls", "preview", "poster"],
        "web": ["1080p", "480p", "poster", "sound"],
    }
    assert renditions_for(name, "clip.MOV") == expected[name]


def test_a_shipped_profile_gives_a_picture_only_pictures(name: str) -> None:
    """Nothing is paid for that cannot come out."""
    expected = {"podcast": [], "streaming": [], "web": ["picture", "thumb"]}
    assert renditions_for(name, "photo.jpeg") == expected[name]


def test_a_shipped_profile_leaves_text_alone(name: str) -> None:
    """A stray file in a bucket costs nothing."""
    assert renditions_for(name, "README.txt") == []
    assert renditions_for(name, "no-suffix") == []


def test_the_ledgers_copy_reads_back_the_same(name: str) -> None:
    """A profile survives being frozen as JSON: same content, same keys."""
    profile = load_profile(name, SHIPPED)
    copy = Profile.from_mapping(profile.model_dump(mode="json"))
    item = Item("s3://media/clip.mov", fingerprint="1")
    assert copy == profile
    assert copy.jobs_for(item) == profile.jobs_for(item)


def test_no_shipped_profile_names_a_bucket(name: str, tmp_path: Path) -> None:
    """It must work in a checkout whose owner has configured nothing."""
    copy = tmp_path / "copy.yml"
    copy.write_text((SHIPPED / f"{name}.yaml").read_text(), encoding="utf-8")
    assert load_profile("copy", tmp_path).destinations() == {}
