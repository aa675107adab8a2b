"""Guide 001, "Media processing pipeline on Railway": our receiver in place of its server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ittybatch.settings import CHECKOUT
from tests.guides.blocks import block, run_shell
from tests.guides.server import TOKEN, Server, serving
from tests.receiver.harness import PATH, wait_until
from tests.sandbox.harness import Running as Sandbox
from tests.sinks.conftest import Run

HOST = "https://your-app.up.railway.app"
INPUT = "https://example.com/uploads/video.mov"
# The tasks of "Multiple tasks per upload".
TASKS = [
    {"kind": "video", "options": {"width": 1920, "format": "mp4", "quality": "high"}},
    {"kind": "image", "options": {"width": 640, "format": "webp", "start": 2}},
    {"kind": "video", "options": {"width": 480, "format": "mp4", "quality": "low"}},
]


def curl(name: str, server: Server, folder: Path, **replaced: str) -> Any:  # noqa: ANN401  JSON
    """Run a curl line of the guide with only the host, and ids, replaced."""
    [answer] = run_shell(name, {HOST: server.url, **replaced}, folder, token=TOKEN)
    return answer


def test_the_curl_line_submits_a_video(server: Server, tmp_path: Path) -> None:
    """The answer has Ittybit's id and `processing`, as the guide's server gives it."""
    answer = curl("001_process.sh", server, tmp_path)
    assert answer["status"] == "processing"
    sent = server.sent(answer)
    assert (sent["input"], sent["kind"]) == (INPUT, "video")
    assert sent["options"] == {"width": 1280, "format": "mp4", "quality": "high"}


def test_the_curl_line_shows_the_row(server: Server, tmp_path: Path) -> None:
    """By Ittybit's id or ours, until the webhook has come; with the guide's columns."""
    answer = curl("001_process.sh", server, tmp_path)
    done = server.ended(answer["job_id"])
    by_task = curl("001_status.sh", server, tmp_path, task_abc123=done["task_id"])
    by_job = curl("001_status.sh", server, tmp_path, task_abc123=answer["job_id"])
    assert by_task == by_job == done
    assert (done["task_id"], done["input_url"]) == (server.sent(answer)["id"], INPUT)
    assert done["status"] == "succeeded"
    assert done["output_url"] == server.sent(answer)["output"]
    assert done["created_at"] < done["completed_at"]


def test_an_unknown_task_is_not_found(server: Server, tmp_path: Path) -> None:
    """404 with the guide's own body."""
    assert curl("001_status.sh", server, tmp_path) == {"error": "not found"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.get(f"{server.url}/jobs/task_abc123", headers=headers, trust_env=False)
    assert answer.status_code == 404


def test_a_repeated_curl_line_pays_once(server: Server, tmp_path: Path) -> None:
    """The guide's server would submit it again; ours answers with the job that exists."""
    first = curl("001_process.sh", server, tmp_path)
    done = server.ended(first["job_id"])
    again = curl("001_process.sh", server, tmp_path)
    assert (again["job_id"], again["status"]) == (first["job_id"], "succeeded")
    assert (again["task_id"], again["output_url"]) == (done["task_id"], done["output_url"])
    assert len(server.sandbox.all_jobs()) == 1


def test_several_tasks_for_one_upload(server: Server) -> None:
    """One request in place of three: each completes by itself and has its own webhook."""
    # The tasks are those of the guide's block.
    printed = "".join(block("001_tasks.js").split())
    assert all(f'kind:"{task["kind"]}"' in printed for task in TASKS)
    answer = server.taken({"url": INPUT, "tasks": TASKS})
    jobs = answer["jobs"]
    assert [job["kind"] for job in jobs] == ["video", "image", "video"]
    rows = [server.ended(job["job_id"]) for job in jobs]
    assert [row["status"] for row in rows] == ["succeeded"] * 3
    assert len({row["output_url"] for row in rows}) == 3
    sent = [server.sent(job)["options"] for job in jobs]
    assert [each["width"] for each in sent] == [1920, 640, 480]


def test_each_task_names_our_webhook_route(server: Server) -> None:
    """`/webhooks/ittybit`, as in the guide; the webhooks are acknowledged there."""
    answer = server.taken({"url": INPUT, "tasks": TASKS})
    for job in answer["jobs"]:
        server.ended(job["job_id"])
    rows = server.sandbox.all_jobs()
    assert {each["url"] for row in rows for each in row["deliveries"]} == {server.url + PATH}


def test_a_failed_task_says_why(server: Server) -> None:
    """In `error`, with no output; what fails for good is not sent again."""
    faults = [
        {
            "action": "fail_always",
            "error": {"kind": "invalid_input", "message": "could not decode the input"},
        }
    ]
    server.sandbox.client.post("/_sandbox/faults", json={"jobs": faults}).raise_for_status()
    answer = server.taken({"url": INPUT, "kind": "video"})
    row = server.ended(answer["job_id"])
    assert (row["status"], row["output_url"]) == ("failed", None)
    assert "could not decode the input" in row["error"]
    assert len(server.sandbox.all_jobs()) == 1


@pytest.fixture
def with_table(sandbox: Sandbox, sqlite_url: str, run: Run, tmp_path: Path) -> Iterator[Server]:
    """A server whose results go to the guide's own table, by the shipped file."""
    run(block("001_table.sql"))
    results = CHECKOUT / "deployments" / "results" / "railway.yaml"
    with serving(sandbox, sqlite_url, tmp_path, results=results) as server:
        yield server


def test_the_table_media_jobs_has_the_row(with_table: Server, run: Run, tmp_path: Path) -> None:
    """As the guide's server keeps it: the task, its input, its status, and then its output."""
    answer = curl("001_process.sh", with_table, tmp_path)
    done = with_table.ended(answer["job_id"])
    wait_until(lambda: run("SELECT 1 FROM media_jobs WHERE status = 'succeeded'"))
    [row] = run("SELECT * FROM media_jobs")
    assert (row["task_id"], row["input_url"]) == (done["task_id"], INPUT)
    assert (row["status"], row["output_url"]) == ("succeeded", done["output_url"])
    assert row["completed_at"].isoformat()[:19] == done["completed_at"][:19]


def test_a_body_that_cannot_be_taken_is_explained(server: Server) -> None:
    """Unlike the guide's server, which sends it to Ittybit."""
    answer = server.process({"url": INPUT, "kind": "movie"})
    assert answer.status_code == 422
    assert answer.json()["field"] == "kind"
    assert json.dumps(answer.json()["remedy"])
    assert server.sandbox.all_jobs() == []
