"""Planning from real sources: a preview tells what a run then does."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ittybatch.engine.planning import plan_batch, preview
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.results import reject_rows
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import claim_due
from ittybatch.profiles import Profile, load_profile
from ittybatch.settings import CHECKOUT
from ittybatch.sources import BucketSource, FailedJobsSource, ManifestSource, SourceError
from tests.ledger import library

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PROFILES = CHECKOUT / "deployments" / "profiles"


@pytest.fixture
def s3(s3: "S3Client") -> "S3Client":
    """A client, and a bucket of two videos, a sound, a picture and a text."""
    s3.create_bucket(Bucket="planned-media")
    for key in ("a.mov", "b.mp4", "c.wav", "d.png", "e.txt"):
        s3.put_object(Bucket="planned-media", Key=f"in/{key}", Body=key.encode())
    return s3


@pytest.fixture
def web() -> Profile:
    return load_profile("web", PROFILES)


def _plan(ledger: Ledger, source: BucketSource | ManifestSource | FailedJobsSource) -> str:
    profile = load_profile("web", PROFILES)
    opened = library.new_batch(
        ledger, source=source.model_dump(mode="json"), profile=profile.model_dump(mode="json")
    )
    return plan_batch(ledger, opened, source, PROFILES, chunk_size=100).id


@pytest.mark.usefixtures("s3")
def test_a_preview_tells_what_a_run_then_does(ledger: Ledger, web: Profile) -> None:
    """The same counts, and not a row written."""
    source = BucketSource(uri="s3://planned-media/in/")
    found = preview(ledger, source, web, PROFILES)
    assert found.counts["jobs"] == 2 * 4 + 1 + 2
    assert found.counts["without_rendition"] == 1
    assert ledger.read(lambda tx: tx.rows(library.all_batches())) == []
    counts = ledger.read(read_batch, _plan(ledger, source)).counts
    assert {**counts, "rejected": 0} == dict(found.counts)
    again = preview(ledger, source, web, PROFILES)
    assert again.counts["jobs"] == 0
    assert again.counts["in_flight_elsewhere"] == found.counts["jobs"]


def test_a_changed_object_makes_exactly_its_jobs(
    ledger: Ledger, s3: "S3Client", web: Profile
) -> None:
    """By its ETag; the others are as they were."""
    source = BucketSource(uri="s3://planned-media/in/")
    _plan(ledger, source)
    s3.put_object(Bucket="planned-media", Key="in/a.mov", Body=b"another cut")
    found = preview(ledger, source, web, PROFILES)
    assert {row["input"] for row in found.sample} == {"s3://planned-media/in/a.mov"}
    assert found.counts["jobs"] == 4


@pytest.mark.usefixtures("s3")
def test_a_listing_that_fails_changes_nothing(ledger: Ledger) -> None:
    """It never looks like an empty one."""
    with pytest.raises(SourceError, match="nowhere"):
        _plan(ledger, BucketSource(uri="s3://nowhere/in/"))


def test_bad_rows_of_a_manifest_stop_no_good_one(ledger: Ledger, tmp_path: Path) -> None:
    """Each is kept with its line, field and reason."""
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(
        "input,kind,options,profile\n"
        "s3://media/a.mov,,,\n"
        ",,,web\n"
        's3://media/b.mov,video,"{""fps"": 999}",\n'
        "s3://media/c.mov,,,no-such-profile\n"
        's3://media/d.mov,image,"{""width"": 640, ""start"": 2}",\n'
    )
    batch = _plan(ledger, ManifestSource(uri=str(manifest)))
    assert {row.input for row in library.rows(ledger, batch)} == {
        "s3://media/a.mov",
        "s3://media/d.mov",
    }
    rejects = {
        row["line"]: (row["field"], row["reason"]) for row in ledger.read(reject_rows, batch)
    }
    assert {line: field for line, (field, _) in rejects.items()} == {
        3: "input",
        4: "options",
        5: "profile",
    }
    assert "fps" in rejects[4][1]
    assert "no-such-profile" in rejects[5][1]


def test_garbled_objects_of_json_stop_no_good_one(ledger: Ledger, tmp_path: Path) -> None:
    """Whatever a database refuses: NUL and half surrogates in names, values and reasons."""
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(
        '{"input": "s3://media/a.mov", "metadata": {"show": "two\\nlines"}}\n'
        '{"input": "s3://media/b.mov", "optoins\\u0000": {}}\n'
        '{"input": "s3://media/\\ud83d.mov"}\n'
        '{"input": "s3://media/c.mov", "etag": "\\u0000"}\n'
        '{"input": "s3://media/c.mov", "profile": "\\u0000"}\n'
        '{"input": "s3://media/c.mov", "kind": "video\\ud83d"}\n'
        '{"input": "s3://media/c.mov", "kind": "image", "options": {"format": "\\u0000"}}\n'
        '{"input": "s3://media/c.mov", "kind": "image", "options": {"\\u0000\\ud83d": 1}}\n'
        '{"input": "s3://media/c.mov", "metadata": {"\\ud83d": "x"}}\n'
        '{"input": "s3://media/c.mov", "metadata": {"a": "\\u0000"}}\n'
        '{"input": "s3://media/d.mov", "\\u0000": "\\ud83d"}\n'
        '\x00{"input": "s3://media/e.mov"}\n'
    )
    batch = _plan(ledger, ManifestSource(uri=str(manifest)))
    assert {row.input for row in library.rows(ledger, batch)} == {
        "s3://media/a.mov",
        "s3://media/d.mov",
    }
    rejects = ledger.read(reject_rows, batch)
    assert [row["line"] for row in rejects] == [*range(2, 11), 12]
    for row in rejects:
        assert (row["field"] + row["reason"] + row["row"]).isprintable()


def test_what_failed_is_a_source_of_its_own(ledger: Ledger) -> None:
    """A retry makes those jobs again, each under its next attempt, and no others."""
    chunk, _ = library.submitted(ledger, *(library.job(f"{number}.mov") for number in range(3)))
    first = library.place(ledger, chunk).batch_id
    outcomes = [library.remote("task-0"), library.failed("task-1", "invalid_input", "no")]
    ledger.write(settle, outcomes)
    second = _plan(ledger, FailedJobsSource(batch=first))
    [row] = library.rows(ledger, second)
    assert (row.input, row.state) == ("s3://media/1.mov", JobState.PLANNED)
    [sent] = ledger.write(claim_due, library.released_chunk(ledger, second), 10)
    assert (sent.attempt, dict(sent.metadata)) == (2, {"show": "pilot"})
    assert library.rows(ledger, _plan(ledger, FailedJobsSource(batch=first))) == []


COLLIDING = """\
input
s3://media/x/c.mov
s3://media/d.mov
s3://media/x//c.mov
s3://other/d.mov
s3://media/d.mov
"""


@pytest.mark.parametrize("page_size", [2, 5000])
def test_a_preview_counts_and_names_what_would_write_one_destination(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page_size: int
) -> None:
    """As the run then does, within a page, across pages, and against what an earlier run made."""
    monkeypatch.setattr("ittybatch.engine.planning.PAGE_SIZE", page_size)
    manifest = tmp_path / "items.csv"
    manifest.write_text(COLLIDING)
    source = ManifestSource(uri=str(manifest))
    profile = Profile.from_mapping(
        {
            "name": "p",
            "renditions": [
                {"name": name, "kind": "video", "destination": "s3://out/{key}/{rendition}.{ext}"}
                for name in ("sd", "hd")
            ],
        }
    )
    found = preview(ledger, source, profile, PROFILES)
    assert (found.counts["jobs"], found.counts["same_destination"]) == (4, 4)
    assert found.counts["duplicates"] == 2
    assert [each.line for each in found.rejects] == [4, 5]
    assert "s3://media/x/c.mov (line 2)" in found.rejects[0].reason
    opened = library.new_batch(
        ledger, source=source.model_dump(mode="json"), profile=profile.model_dump(mode="json")
    )
    batch = plan_batch(ledger, opened, source, PROFILES, chunk_size=100)
    assert dict(batch.counts) == {**found.counts}
    named = [(row["line"], row["field"]) for row in ledger.read(reject_rows, batch.id)]
    assert named == [(4, "destination"), (5, "destination")]
    again = preview(ledger, source, profile, PROFILES)
    assert (again.counts["jobs"], again.counts["same_destination"]) == (0, 4)
    assert batch.id in again.rejects[0].reason


def test_rows_of_one_object_with_several_fingerprints_are_paid_once(
    ledger: Ledger, tmp_path: Path
) -> None:
    """A preview refuses the second one like the run."""
    destination = {"name": "sd", "kind": "video", "destination": "s3://out/{key}.{ext}"}
    profile = Profile.from_mapping({"name": "p", "renditions": [destination]})
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("input,fingerprint\ns3://med/a.mov,e1\ns3://med/a.mov,\n", encoding="utf-8")
    source = ManifestSource(uri=str(manifest))
    found = preview(ledger, source, profile, PROFILES)
    opened = library.new_batch(
        ledger, source=source.model_dump(mode="json"), profile=profile.model_dump(mode="json")
    )
    planned = plan_batch(ledger, opened, source, PROFILES, chunk_size=100)
    for counts in (found.counts, ledger.read(read_batch, planned.id).counts):
        assert (counts["jobs"], counts["same_destination"]) == (1, 1)
