"""The main job: a library in a bucket becomes real outputs, through suspend and resume."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ittybatch.ledger.identity import batch_owner
from tests.end_to_end.media.first_batches import BUCKET, STUMBLES, First, FirstBatches
from tests.end_to_end.media.probing import Seen, probe_media, probe_picture
from tests.end_to_end.system import System

pytestmark = pytest.mark.timeout(600)

PICTURES = {".jpg", ".png"}


@pytest.fixture(scope="module")
def main_job(first_batches: FirstBatches) -> First:
    """Videos, recordings and pictures, by `ittybatch run s3://... --profile web --follow`."""
    return first_batches.library


@pytest.fixture(scope="module")
def report(running: System, main_job: First) -> dict[str, Any]:
    """Its completion report."""
    found: dict[str, Any] = running.told("report", main_job.batch)
    return found


def test_it_ends_with_everything_succeeded(system: System, main_job: First) -> None:
    """Exit status 0, and Prefect shows Completed."""
    assert main_job.exit_status == 0, main_job.said
    assert f"Batch {main_job.batch}: succeeded. 20 of 20 jobs succeeded" in main_job.said
    assert system.outcome(main_job.batch) == "Completed"


def test_batch_and_chunk_sleep_and_go_on_in_other_processes(
    system: System, main_job: First, first_batches: FirstBatches
) -> None:
    """Suspended and Resuming stand in Prefect's history; each leg had a process of its own."""
    runs = system.flow_runs(main_job.batch)
    assert len(runs) == 2
    assert batch_owner(main_job.batch) in runs
    for owner, (flow_run, legs) in runs.items():
        history = system.prefect.history(flow_run)
        assert history.index("Suspended") < history.index("Resuming"), owner
        assert history[-1] == "Completed", owner
        assert legs >= 2, owner
        assert len(first_batches.processes[flow_run]) == legs, owner


def test_ittybit_has_exactly_the_jobs_that_the_ledger_holds(
    system: System, main_job: First, report: dict[str, Any]
) -> None:
    """By Idempotency-Key and by task, no more and no fewer; no key made two jobs."""
    system.assert_both_sides_agree(main_job.batch)
    assert len(system.wire.jobs(main_job.batch)) == 21
    assert system.wire.summary()["keys"]["most_jobs_for_one_key"] == 1
    assert {row["id"] for row in system.wire.jobs(main_job.batch)} >= {
        job["task_id"] for job in report["jobs"]
    }


def test_every_job_carries_where_it_came_from(system: System, main_job: First) -> None:
    """Batch, item, job and source stand in the metadata that Ittybit echoes."""
    keys = {job.job_key: job for job in system.jobs(main_job.batch)}
    items: dict[str, set[str]] = {}
    for row in system.wire.jobs(main_job.batch):
        metadata = row["metadata"]
        assert metadata["ittybatch_batch_id"] == main_job.batch
        assert keys[metadata["ittybatch_job_key"]].input == row["input"]
        assert metadata["ittybatch_source_bucket"] == BUCKET
        assert row["input"] == f"s3://{BUCKET}/{metadata['ittybatch_source_key']}"
        assert metadata["source"] == metadata["ittybatch_source_key"], "the profile's own template"
        items.setdefault(metadata["ittybatch_item_id"], set()).add(row["input"])
    assert len(items) == 8
    assert all(len(inputs) == 1 for inputs in items.values())


def test_one_job_succeeds_after_a_retry(
    system: System, main_job: First, report: dict[str, Any]
) -> None:
    """A passing fault costs a second attempt, under a key of its own."""
    retried = [job for job in report["jobs"] if job["attempts"] > 1]
    assert [(job["input"], job["rendition"], job["attempts"]) for job in retried] == [
        (main_job.source + STUMBLES, "thumb", 2)
    ]
    sent = [
        row
        for row in system.wire.jobs(main_job.batch)
        if (row["input"], row["metadata"]["ittybatch_rendition"])
        == (main_job.source + STUMBLES, "thumb")
    ]
    assert [row["status"] for row in sent] == ["failed", "succeeded"]
    assert sent[1]["id"] == retried[0]["task_id"]
    assert system.status(main_job.batch).retried == 1


def test_the_report_has_its_shape_and_the_ledgers_counts(
    system: System, main_job: First, report: dict[str, Any]
) -> None:
    """The command's report and the one that the flow wrote are the same."""
    assert set(report) == {"batch", "counts", "jobs"}
    states = system.counted(main_job.batch)
    assert report["counts"] == {
        "items": 8,
        "jobs": 20,
        "succeeded": states["succeeded"],
        "failed": states["failed"],
        "cancelled": states["cancelled"],
        "expired": states["expired"],
        "skipped": system.status(main_job.batch).plan["skipped"],
    }
    assert sum(states.values()) == 20
    assert report["batch"]["id"] == main_job.batch
    for job in report["jobs"]:
        assert set(job) == {
            *("input", "rendition", "kind", "status", "attempts", "task_id"),
            *("output_url", "output", "error", "submitted_at", "completed_at"),
        }
        assert (job["status"], job["error"]) == ("succeeded", None)
        assert job["submitted_at"] <= job["completed_at"]
    written = system.stack.home / "batches" / main_job.batch / "report.json"
    assert json.loads(written.read_text()) == report


def test_every_output_is_what_was_asked_for(
    system: System, main_job: First, report: dict[str, Any], library: Path
) -> None:
    """Format, codec, size, proportions and duration, by other eyes than the encoder's."""
    checked: Counter[str] = Counter()
    for job in report["jobs"]:
        content = system.wire.output(job["output_url"])
        source = _source(library / job["input"].removeprefix(main_job.source))
        told = job["output"]
        assert told["size_bytes"] == len(content), job
        match job["rendition"]:
            case "1080p" | "480p" as name:
                seen = _check_video(content, source, int(name.removesuffix("p")))
            case "sound":
                seen = _check_sound(content, source)
            case "poster" | "picture":
                seen = _check_picture(content, source)
            case _:
                seen = probe_picture(content)
                assert seen == Seen("webp", {}, 320, 320)
        assert (told["width"], told["height"]) == (seen.width, seen.height), job
        if seen.duration_s is not None:
            assert told["duration_s"] == pytest.approx(seen.duration_s, abs=0.1), job
        checked[job["rendition"]] += 1
    assert checked == {"1080p": 3, "480p": 3, "poster": 3, "sound": 5, "picture": 3, "thumb": 3}


def test_the_same_batch_again_submits_nothing(system: System, main_job: First) -> None:
    """Exit status 0: what has succeeded is neither sent nor paid for again."""
    before = system.wire.summary()
    again = system.command("run", main_job.source, "--profile", "web", "--follow")
    assert again.returncode == 0, again.stderr
    assert "20 jobs were not submitted: done before" in again.stdout
    second = system.newest(main_job.source)
    assert second != main_job.batch
    assert system.await_end(second).counts["jobs"] == 0
    after = system.wire.summary()
    assert after["jobs_known"] == before["jobs_known"]
    assert after["replays"] == before["replays"]


def _source(path: Path) -> Seen:
    content = path.read_bytes()
    return probe_picture(content) if path.suffix in PICTURES else probe_media(content)


def _check_video(content: bytes, source: Seen, height: int) -> Seen:
    seen = probe_media(content)
    assert "mp4" in seen.format
    assert seen.codecs == {"video": "h264", "audio": "aac"}
    assert seen.height == height
    assert seen.width is not None
    assert seen.width % 2 == 0
    assert seen.width == pytest.approx(height * source.aspect, abs=2)
    assert seen.duration_s == pytest.approx(source.duration_s, abs=0.15)
    return seen


def _check_sound(content: bytes, source: Seen) -> Seen:
    seen = probe_media(content)
    assert seen.format == "mp3"
    assert set(seen.codecs) == {"audio"}
    assert seen.duration_s == pytest.approx(source.duration_s, abs=0.15)
    return seen


def _check_picture(content: bytes, source: Seen) -> Seen:
    seen = probe_picture(content)
    assert (seen.format, seen.width) == ("webp", 1280)
    assert seen.height == pytest.approx(1280 / source.aspect, abs=2)
    return seen
