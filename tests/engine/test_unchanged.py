"""The second night: what is held is left out at once, and nothing else is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from ittybatch.engine import planning, unchanged
from ittybatch.engine.planning import plan_batch, preview
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.control import hold_batch
from ittybatch.ledger.models import Job
from ittybatch.ledger.quarantine import release
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.submission import claim_due
from ittybatch.profiles import Item, JobSpec, Profile
from ittybatch.sources import BucketSource, ManifestSource
from tests.ledger import library

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SMALL = {"name": "small", "kind": "video", "options": {"format": "mp4", "height": 480}}
LARGE = {"name": "large", "kind": "video", "options": {"format": "mp4", "height": 1080}}
SOUND = {"name": "sound", "kind": "audio", "destination": "s3://out/{key}.mp3"}
POSTER = {
    "name": "poster",
    "kind": "image",
    "options": {"format": "jpeg"},
    "destination": "s3://out/{dir}/{stem}.jpg",
}
VIDEOS = ["a.mov", "b.mov", "c.mov"]

Night = Callable[..., tuple[str, Mapping[str, Any], set[tuple[str, str]]]]


@pytest.fixture
def library_bucket(s3: "S3Client", bucket: str) -> str:
    """Three videos, a sound and a text."""
    for name in (*VIDEOS, "d.wav", "e.txt"):
        s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=name.encode())
    return bucket


@pytest.fixture
def made_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the objects whose jobs were made out."""
    names: list[str] = []
    jobs_for = Profile.jobs_for

    def noted(self: Profile, item: Item) -> list[JobSpec]:
        names.append(item.uri.rpartition("/")[2])
        return jobs_for(self, item)

    monkeypatch.setattr(Profile, "jobs_for", noted)
    return names


@pytest.fixture
def night(ledger: Ledger, library_bucket: str, tmp_path: Path, made_out: list[str]) -> Night:
    """Plans the bucket; gives the batch, its counts, and its jobs as pairs of object and name."""

    def plan(
        *renditions: Mapping[str, Any], name: str = "web"
    ) -> tuple[str, Mapping[str, Any], set[tuple[str, str]]]:
        made_out.clear()
        source = BucketSource(uri=f"s3://{library_bucket}/in/")
        profile = {"name": name, "renditions": list(renditions)}
        opened = library.new_batch(ledger, source=source.model_dump(mode="json"), profile=profile)
        batch = plan_batch(ledger, opened, source, tmp_path, chunk_size=100).id
        counts = ledger.read(read_batch, batch).counts
        jobs = {
            (row.input.rpartition("/")[2], row.rendition) for row in library.rows(ledger, batch)
        }
        assert counts.get("jobs", 0) == len(jobs)
        return batch, counts, jobs

    return plan


def _fail_for_good(ledger: Ledger, batch: str, *, of: int) -> set[tuple[str, str]]:
    """Let that many jobs of a batch fail so that they are held back, and the rest succeed."""
    submissions = ledger.write(claim_due, library.released_chunk(ledger, batch), 100)
    library.accept(ledger, submissions, prefix=batch)
    tasks = [f"{batch}-{number}" for number in range(len(submissions))]
    broken = [library.failed(task, "invalid_input", "not a media file") for task in tasks[:of]]
    ledger.write(settle, [*broken, *map(library.remote, tasks[of:])])
    return {(each.input.rpartition("/")[2], each.rendition) for each in submissions[:of]}


def test_an_unchanged_bucket_makes_nothing_out(night: Night, made_out: list[str]) -> None:
    """All that it held is counted as ever; only what gets no rendition is looked at again."""
    _, first, _ = night(SMALL, SOUND)
    assert made_out == [*VIDEOS, "d.wav", "e.txt"]
    _, counts, jobs = night(SMALL, SOUND)
    assert (jobs, made_out) == (set(), ["e.txt"])
    assert counts["in_flight_elsewhere"] == first["jobs"] == 3 * 2 + 1
    for name in ("found", "skipped", "without_rendition"):
        assert counts[name] == first[name]


def test_a_changed_object_makes_exactly_its_renditions(
    night: Night, s3: "S3Client", library_bucket: str, made_out: list[str]
) -> None:
    """Its ETag says so."""
    night(SMALL, SOUND)
    s3.put_object(Bucket=library_bucket, Key="in/b.mov", Body=b"another cut")
    _, counts, jobs = night(SMALL, SOUND)
    assert jobs == {("b.mov", "small"), ("b.mov", "sound")}
    assert made_out == ["b.mov", "e.txt"]
    assert counts["in_flight_elsewhere"] == 2 * 2 + 1


@pytest.mark.parametrize(
    "changed",
    [
        {**SOUND, "options": {"bitrate": 128000}},
        {**SOUND, "options": {"format": "aac"}},
        {**SOUND, "destination": "s3://elsewhere/{key}.mp3"},
    ],
    ids=["option", "format", "destination"],
)
def test_a_changed_rendition_is_all_that_is_made(night: Night, changed: dict[str, Any]) -> None:
    """Of every object that gets it."""
    night(SMALL, SOUND)
    _, _, jobs = night(SMALL, changed)
    assert jobs == {(name, "sound") for name in (*VIDEOS, "d.wav")}


@pytest.mark.parametrize(
    "renditions",
    [
        [SOUND, SMALL],
        [{**SMALL, "name": "tiny"}, {**SOUND, "attempts": 7, "metadata": {"by": "{profile}"}}],
        [{**SMALL, "options": {"height": "480", "format": "MP4"}}, SOUND],
        [{**SMALL, "when": {"media": "video"}}, SOUND],
    ],
    ids=["order", "names", "spelling", "condition"],
)
def test_a_profile_that_asks_for_the_same_makes_nothing_out(
    night: Night, made_out: list[str], renditions: list[dict[str, Any]]
) -> None:
    """Whatever it is called, and however it is written."""
    night(SMALL, SOUND)
    _, _, jobs = night(*renditions, name="renamed")
    assert (jobs, made_out) == (set(), ["e.txt"])


def test_another_way_to_write_the_same_destination_makes_nothing(night: Night) -> None:
    """The long way finds what the short one does not know again."""
    night(SOUND)
    _, counts, jobs = night({**SOUND, "destination": "s3://out/{dir}/{stem}.{suffix}.mp3"})
    assert (jobs, counts["in_flight_elsewhere"]) == (set(), 4)


def test_an_added_rendition_is_all_that_is_made(night: Night, made_out: list[str]) -> None:
    """Afterwards the two batches' jobs together hold each object."""
    night(SMALL)
    _, _, jobs = night(SMALL, LARGE)
    assert jobs == {(name, "large") for name in VIDEOS}
    _, _, jobs = night(SMALL, LARGE)
    assert (jobs, made_out) == (set(), ["d.wav", "e.txt"])


def test_an_object_with_one_free_rendition_gets_just_that(ledger: Ledger, night: Night) -> None:
    """The others of it stay held."""
    batch, _, _ = night(SMALL, SOUND)
    free = next(row for row in library.rows(ledger, batch) if row.rendition == "sound")
    ledger.write(
        lambda tx: tx.execute(update(Job).where(Job.job_key == free.job_key).values(claim=None))
    )
    _, _, jobs = night(SMALL, SOUND)
    assert jobs == {(free.input.rpartition("/")[2], "sound")}


def test_what_failed_for_good_is_made_again_once_it_is_released(
    ledger: Ledger, night: Night, made_out: list[str]
) -> None:
    """Until then it is held back, and needs no more looking at than what succeeded."""
    batch, _, _ = night(SMALL, SOUND)
    broken = _fail_for_good(ledger, batch, of=2)
    _, counts, jobs = night(SMALL, SOUND)
    assert (jobs, made_out) == (set(), ["e.txt"])
    assert (counts["held_back"], counts["already_done"]) == (2, 5)
    release(ledger)
    _, counts, jobs = night(SMALL, SOUND)
    assert (jobs, counts["already_done"]) == (broken, 5)


def test_what_a_held_batch_will_not_send_is_taken_over(ledger: Ledger, night: Night) -> None:
    """It is planned, but waits for nobody."""
    batch, _, _ = night(SMALL)
    ledger.write(hold_batch, batch, "to be looked at")
    _, counts, jobs = night(SMALL)
    assert jobs == {(name, "small") for name in VIDEOS}
    assert "in_flight_elsewhere" not in counts


def test_conditions_of_size_are_judged_for_each_object(
    night: Night, s3: "S3Client", library_bucket: str, made_out: list[str]
) -> None:
    """One suffix, two sizes: on either side of the limit."""
    s3.put_object(Bucket=library_bucket, Key="in/long.mov", Body=b"x" * 100)
    small = {**SMALL, "when": {"max_size": 99}}
    large = {**LARGE, "when": {"min_size": 100}}
    _, _, jobs = night(small, large)
    assert jobs == {*((name, "small") for name in VIDEOS), ("long.mov", "large")}
    _, counts, jobs = night(small, large)
    assert (jobs, counts["in_flight_elsewhere"], made_out) == (set(), 4, ["d.wav", "e.txt"])
    _, _, jobs = night({**small, "when": {"max_size": 100}}, large)
    assert jobs == {("long.mov", "small")}


def test_conditions_of_name_are_judged_for_each_object(night: Night, made_out: list[str]) -> None:
    """No two objects are alike to them."""
    _, _, jobs = night({**SMALL, "when": {"glob": "**/a.*"}}, LARGE)
    assert jobs == {("a.mov", "small"), *((name, "large") for name in VIDEOS)}
    _, _, jobs = night({**SMALL, "when": {"glob": "**/a.*"}}, LARGE)
    assert (jobs, made_out) == (set(), ["d.wav", "e.txt"])
    _, _, jobs = night({**SMALL, "when": {"glob": "**/[ab].*"}}, LARGE)
    assert jobs == {("b.mov", "small")}


def test_both_ways_count_alike(
    ledger: Ledger,
    night: Night,
    library_bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The short way, for plan and dry run, and the long one that asks of every job."""
    batch, _, _ = night(SMALL, SOUND)
    _fail_for_good(ledger, batch, of=3)
    night(SMALL, LARGE)
    source = BucketSource(uri=f"s3://{library_bucket}/in/")
    profile = Profile.from_mapping({"name": "all", "renditions": [SMALL, LARGE, SOUND, POSTER]})
    short = preview(ledger, source, profile, tmp_path).counts
    monkeypatch.setattr(planning, "objects_by_fit", lambda *_: {})
    assert preview(ledger, source, profile, tmp_path).counts == short
    _, counts, jobs = night(SMALL, LARGE, SOUND, POSTER)
    assert jobs == {(name, "poster") for name in VIDEOS}
    assert {**counts, "rejected": 0} == dict(short)


def test_what_a_sample_passes_over_is_found_by_the_long_way(
    night: Night, s3: "S3Client", library_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many objects only some are asked about at first; each job is made once all the same."""
    monkeypatch.setattr(unchanged, "_MANY", 3)
    monkeypatch.setattr(unchanged, "_SAMPLED", 3)
    night(SMALL)
    s3.put_object(Bucket=library_bucket, Key="in/a.mov", Body=b"another cut")
    _, counts, jobs = night(SMALL)
    assert (jobs, counts["in_flight_elsewhere"]) == ({("a.mov", "small")}, 2)


def test_a_manifest_is_looked_at_job_by_job(
    ledger: Ledger, tmp_path: Path, made_out: list[str]
) -> None:
    """It is mostly new, and finds what it holds all the same."""
    manifest = tmp_path / "items.csv"
    manifest.write_text("input\ns3://media/a.mov\ns3://media/b.mov\n", encoding="utf-8")
    source = ManifestSource(uri=str(manifest))
    profile = {"name": "web", "renditions": [SMALL]}
    for held in (0, 2):
        made_out.clear()
        opened = library.new_batch(ledger, source=source.model_dump(mode="json"), profile=profile)
        counts = plan_batch(ledger, opened, source, tmp_path, chunk_size=500).counts
        assert (counts.get("in_flight_elsewhere", 0), made_out) == (held, ["a.mov", "b.mov"])
