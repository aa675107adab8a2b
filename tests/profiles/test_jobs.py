"""From items to jobs: what is in a job's key, and what is not."""

import time
from typing import Any

import pytest

from ittybatch.ittybit.options import InvalidOptions
from ittybatch.profiles import Item, Profile, UnusableItem
from ittybatch.profiles.job import item_key

ITEM = Item("s3://media/uploads/clip.mov", fingerprint="etag-1")


def profile(*renditions: dict[str, Any], name: str = "test") -> Profile:
    return Profile.from_mapping({"name": name, "renditions": list(renditions)})


def video(name: str = "small", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    return {"name": name, "kind": "video", "options": {"width": 640, "format": "mp4"}, **more}


def key_of(rendition: dict[str, Any], item: Item = ITEM, name: str = "test") -> str:
    (job,) = profile(rendition, name=name).jobs_for(item)
    return job.job_key


def test_a_job_says_all_that_is_to_be_submitted() -> None:
    """Input, kind, canonical options, destination, metadata and limits."""
    destination = "s3://out/{dir}/{stem}-{rendition}.{ext}"
    (job,) = profile(
        video(destination=destination, metadata={"k": "{key}"}, attempts=2, deadline="1h")
    ).jobs_for(ITEM)
    assert (job.rendition, job.kind, job.input) == ("small", "video", ITEM.uri)
    assert job.options == {"format": "mp4", "width": 640}
    assert job.destination == "s3://out/uploads/clip-small.mp4"
    assert job.metadata == {"k": "uploads/clip.mov"}
    assert (job.attempts, job.deadline_s, job.backoff_s) == (2, 3600, 30)


def test_a_jobs_key_never_changes_between_versions() -> None:
    """If this fails, every finished job of every user would be paid for again."""
    assert key_of(video()) == "6b9db4f139036eabb8be631c45e3c9f1"
    assert key_of(video(), Item("https://example.com/a.mp4")) == "08f9165340c3b12925d4131c45e3c9f1"
    assert key_of(video(destination="s3://out/{key}.mp4")) == "6b9db4f139036eabb8be6333805816ed"


@pytest.mark.parametrize(
    "same",
    [
        video(name="renamed"),
        video(attempts=9, deadline="1d", backoff="1m", metadata={"a": "b"}),
        {**video(), "options": {"format": "MP4", "width": "640"}},
        {**video(), "options": {"format": "mp4", "width": 640, "connection_id": "conn_1"}},
        video(when={"media": "video"}),
    ],
)
def test_what_changes_no_output_makes_no_new_job(same: dict[str, Any]) -> None:
    """Names, limits, metadata, spelling and connection are not the job."""
    assert key_of(same, name="another-profile") == key_of(video())


@pytest.mark.parametrize(
    "other",
    [
        {**video(), "options": {"width": 641, "format": "mp4"}},
        {**video(), "kind": "animation", "options": {"width": 640, "end": 2}},
        video(destination="s3://out/{key}"),
    ],
)
def test_another_output_is_another_job(other: dict[str, Any]) -> None:
    """Kind, options and destination are the job."""
    assert key_of(other) != key_of(video())


def test_neighbours_share_the_beginning_of_their_keys_alone() -> None:
    """The ledger's index is written in few places for a page, and keys stay apart."""
    keys = [key_of(video(), Item(f"s3://media/uploads/{n:07}.mov")) for n in range(1000, 2000)]
    assert len({key[:5] for key in keys}) == 1
    assert len({key[5:] for key in keys}) == 1000
    assert key_of(video(), Item("s3://media/other/0001000.mov"))[:5] != keys[0][:5]


def test_new_content_is_a_new_job() -> None:
    """The fingerprint tells; without one the URI alone does."""
    keys = {key_of(video(), Item(ITEM.uri, fingerprint=f)) for f in ("1", "2", "", None)}
    assert len(keys) == 4


def test_a_url_signed_anew_is_the_same_job_where_its_content_is_known() -> None:
    """A fingerprint tells what it holds; without one, only the whole URL does."""
    base = "https://media.test/a.wav"
    first, second = f"{base}?sig=1", f"{base}?sig=2"
    known = {item_key(Item(url, fingerprint="v1")) for url in (first, second)}
    unknown = {item_key(Item(url)) for url in (first, second)}
    assert (len(known), len(unknown)) == (1, 2)


def test_metadata_of_the_item_goes_along() -> None:
    """A rendition's own pairs win, and empty ones are left out."""
    item = Item("s3://m/a.mov", metadata={"id": "7", "team": "x"})
    rendition = video(
        metadata={"team": "{profile}/{rendition}.{ext}", "no": "{metadata.none}", "n": 3}
    )
    (job,) = profile(rendition, name="web").jobs_for(item)
    assert job.metadata == {"id": "7", "team": "web/small.mp4", "n": "3"}


def test_a_row_with_its_own_kind_gets_exactly_that() -> None:
    """In place of the profile's renditions, known by its kind."""
    item = Item("s3://m/a.mov", kind="audio", options={"format": "MP3"}, metadata={"id": "7"})
    (job,) = profile(video()).jobs_for(item)
    assert (job.rendition, job.kind, job.options) == ("audio", "audio", {"format": "mp3"})
    assert job.metadata == {"id": "7"}


def test_a_rows_own_job_is_the_profiles_job_where_they_agree() -> None:
    """Moving an item from a profile to a row pays nothing twice."""
    own = Item(ITEM.uri, fingerprint=ITEM.fingerprint, kind="video", options={"width": 640})
    (job,) = profile(video()).jobs_for(own)
    rendition = {"name": "x", "kind": "video", "options": {"width": 640}}
    assert job.job_key == key_of(rendition)


@pytest.mark.parametrize(("kind", "options"), [("vidio", {}), ("audio", {"width": 1})])
def test_a_rows_impossible_job_is_refused(kind: str, options: dict[str, Any]) -> None:
    """Before it is sent, whoever made the item."""
    with pytest.raises(InvalidOptions):
        profile(video()).jobs_for(Item("s3://m/a.mov", kind=kind, options=options))


def test_outputs_of_one_item_never_meet() -> None:
    """Where only the item shows that two templates agree, the item is refused."""
    clash = profile(
        video("a", destination="s3://out/{stem}/x.mp4"),
        {"name": "b", "kind": "audio", "destination": "s3://out/{dir}/x.mp4/{stem}"},
        {"name": "c", "kind": "audio", "destination": "s3://out/x/{stem}.mp4"},
    )
    assert len(clash.jobs_for(Item("s3://m/other.mov"))) == 3
    with pytest.raises(UnusableItem, match="renditions a and c would both be written"):
        clash.jobs_for(Item("s3://m/x.mov"))


def test_planning_keeps_up_with_a_million_rows() -> None:
    """One core makes tens of thousands of jobs a second, with room for a slow machine."""
    many = profile(
        *(
            {
                **video(f"r{n}"),
                "options": {"width": 100 + n},
                "metadata": {"k": "{key}"},
                "destination": "s3://out/{dir}/{item}/{rendition}.{ext}",
            }
            for n in range(4)
        )
    )
    items = [Item(f"s3://media/in/{n}.mov", fingerprint=str(n)) for n in range(5000)]
    started_s = time.process_time()
    jobs = sum(len(many.jobs_for(item)) for item in items)
    assert jobs / (time.process_time() - started_s) > 20_000
