"""Requests to the local stack: `POST /process` in, `GET /jobs/{id}` out, and the day's batch."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.system import System
from tests.end_to_end.waiting import until
from tests.sandbox.harness import make_media

pytestmark = pytest.mark.timeout(600)

BUCKET = "uploads"
FILM = ("-f", "lavfi", "-i", "testsrc=duration=4:size=320x240:rate=10")
SOUND = ("-f", "lavfi", "-i", "sine=duration=4")
H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-c:a", "aac")


@pytest.fixture(scope="module")
def uploaded(running: System, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of the example's uploads, with a film and a picture in it."""
    folder = tmp_path_factory.mktemp("uploads")
    make_media(folder / "film.mp4", *FILM, *SOUND, *H264)
    make_media(folder / "card.png", *FILM, "-frames:v", "1")
    running.stack.upload(folder, BUCKET, "incoming/")
    return f"s3://{BUCKET}/incoming"


def process(system: System, **body: object) -> dict[str, Any]:
    """Send a request with the stack's own token."""
    answer = httpx.post(
        f"{system.stack.receiver_url}/process",
        json=body,
        headers={"Authorization": f"Bearer {system.stack.api_token}"},
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 202, answer.text
    content: dict[str, Any] = answer.json()
    return content


def shown(system: System, job_id: str) -> dict[str, Any]:
    """A job as the API shows it."""
    answer = httpx.get(
        f"{system.stack.receiver_url}/jobs/{job_id}",
        headers={"Authorization": f"Bearer {system.stack.api_token}"},
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def ended(system: System, job_id: str) -> dict[str, Any]:
    """A job once it has ended."""
    found: dict[str, Any] = until(
        lambda: row if (row := shown(system, job_id))["completed_at"] else None,
        f"job {job_id} has ended",
        within_s=240,
        every_s=0.3,
    )
    return found


def test_a_request_is_made_at_once_and_shown(system: System, uploaded: str) -> None:
    """The renditions of the profile `web` for a film, with real outputs."""
    answer = process(system, url=f"{uploaded}/film.mp4", profile="web")
    assert answer["status"] == "processing"
    rows = {job["rendition"]: ended(system, job["job_id"]) for job in answer["jobs"]}
    assert set(rows) == {"1080p", "480p", "poster", "sound"}
    assert {row["status"] for row in rows.values()} == {"succeeded"}
    assert all(system.wire.output(row["output_url"]) for row in rows.values())


def test_the_days_batch_is_a_batch_like_any_other(system: System, uploaded: str) -> None:
    """`ittybatch status` and `jobs` show it; it runs on, because more may come today."""
    answer = process(system, url=f"{uploaded}/film.mp4", profile="web")
    batch = str(ended(system, answer["jobs"][0]["job_id"])["batch_id"])
    status = system.told("status", batch, "--json")
    assert status["source"]["type"] == "requests"
    assert status["state"] == "running"
    assert status["counts"]["succeeded"] >= 4
    listed = system.command("status")
    assert batch in listed.stdout, listed.stdout
    jobs = system.told("jobs", batch, "--json")
    assert f"{uploaded}/film.mp4" in {job["input"] for job in jobs}


def test_the_same_request_again_pays_nothing(system: System, uploaded: str) -> None:
    """It is answered with the outputs that there are."""
    first = process(system, url=f"{uploaded}/film.mp4", profile="web")
    for job in first["jobs"]:
        ended(system, job["job_id"])
    created = system.wire.created
    again = process(system, url=f"{uploaded}/film.mp4", profile="web")
    assert again["status"] == "succeeded"
    assert [job["job_id"] for job in again["jobs"]] == [job["job_id"] for job in first["jobs"]]
    assert system.wire.created == created


def test_the_printed_line_works_in_a_shell(system: System, uploaded: str, tmp_path: Path) -> None:
    """As `ittybatch up` prints it, with the stack's environment and a file that is there."""
    line = system.stack.request_example
    assert "https://example.com/video.mov" in line
    line = line.replace("https://example.com/video.mov", f"{uploaded}/film.mp4")
    script = f"set -a; . {system.stack.env_file}; {line}"
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert len(json.loads(done.stdout)["jobs"]) == 4
