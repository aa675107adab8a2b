"""Guide 004, "Real-time processing dashboard with Supabase": our receiver for both functions."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ittybatch.settings import CHECKOUT
from tests.guides.blocks import block
from tests.guides.server import Server, serving
from tests.receiver.harness import wait_until
from tests.sandbox.harness import Running as Sandbox
from tests.sinks.conftest import Run

INPUT = "https://example.com/uploads/video.mp4"
OPTIONS = {"width": 1280, "format": "mp4", "quality": "high"}
INTAKE = """
tables:
  - table: jobs
    url_column: input_url
    tasks:
      - {kind: video, options: {width: 1280, format: mp4, quality: high}}
"""


@pytest.fixture
def server(sandbox: Sandbox, sqlite_url: str, run: Run, tmp_path: Path) -> Iterator[Server]:
    """A server with the guide's table declared, and its results in it, by the shipped file."""
    run(block("004_table.sql"))
    results = CHECKOUT / "deployments" / "results" / "supabase.yaml"
    with serving(sandbox, sqlite_url, tmp_path, intake=INTAKE, results=results) as started:
        yield started


def inserted(run: Run, url: str = INPUT) -> dict[str, Any]:
    """Insert a row as the dashboard does, and return the database webhook's body about it."""
    [row] = run(f"INSERT INTO public.jobs (input_url) VALUES ('{url}') RETURNING *")
    record = {name: None if value is None else str(value) for name, value in row.items()}
    return {
        "type": "INSERT",
        "table": "jobs",
        "record": record,
        "schema": "public",
        "old_record": None,
    }


def test_an_inserted_row_is_dispatched_and_completed(server: Server, run: Run) -> None:
    """`processing` with the task's id, then `completed` with the output: what the page shows."""
    event = inserted(run)
    answer = server.process(event)
    assert answer.status_code == 202, answer.text
    [job] = answer.json()["jobs"]
    done = server.ended(job["job_id"])
    assert done["metadata"] == {"job_id": event["record"]["id"]}
    sent = server.sandbox.job(done["task_id"])
    assert (sent["input"], sent["kind"], sent["options"]) == (INPUT, "video", OPTIONS)
    wait_until(lambda: run("SELECT 1 FROM public.jobs WHERE status = 'completed'"))
    [row] = run("SELECT * FROM public.jobs")
    assert (row["task_id"], row["output_url"]) == (done["task_id"], done["output_url"])
    assert row["error"] is None
    assert row["updated_at"] > row["created_at"]


def test_a_row_whose_job_hangs_is_processing(server: Server, run: Run) -> None:
    """The first function's update: the task's id, and `processing`."""
    hang = {"jobs": [{"action": "hang"}]}
    server.sandbox.client.post("/_sandbox/faults", json=hang).raise_for_status()
    server.process(inserted(run))
    wait_until(lambda: run("SELECT 1 FROM public.jobs WHERE status = 'processing'"))
    [row] = run("SELECT * FROM public.jobs")
    assert row["task_id"].startswith("task_")
    assert row["output_url"] is None


def test_a_row_whose_job_fails_says_why(server: Server, run: Run) -> None:
    """`failed`, with the message in `error`, as the second function writes it."""
    error = {"kind": "invalid_input", "message": "could not decode the input"}
    faults = {"jobs": [{"action": "fail_always", "error": error}]}
    server.sandbox.client.post("/_sandbox/faults", json=faults).raise_for_status()
    server.process(inserted(run))
    wait_until(lambda: run("SELECT 1 FROM public.jobs WHERE status = 'failed'"))
    [row] = run("SELECT * FROM public.jobs")
    assert "could not decode the input" in row["error"]


def test_the_same_webhook_twice_makes_one_job(server: Server, run: Run) -> None:
    """Supabase repeats a webhook whose answer was lost."""
    event = inserted(run)
    answers = [server.process(event) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {202}
    [job_id] = {answer.json()["jobs"][0]["job_id"] for answer in answers}
    server.ended(job_id)
    assert len(server.sandbox.all_jobs()) == 1


def test_the_update_of_a_row_makes_no_job(server: Server, run: Run) -> None:
    """Or our own update of the row would start the next."""
    event = inserted(run) | {"type": "UPDATE"}
    assert server.process(event).status_code == 200
    assert server.sandbox.all_jobs() == []


def test_the_direct_test_of_the_guide_reaches_the_row(server: Server, run: Run) -> None:
    """Its curl's body, posted to us: the row is found by `metadata.job_id`."""
    row_id = str(uuid.uuid4())
    run(f"INSERT INTO public.jobs (id, input_url) VALUES ('{row_id}', '{INPUT}')")
    body = {"input": INPUT, "kind": "video", "options": OPTIONS, "metadata": {"job_id": row_id}}
    server.taken(body)
    wait_until(lambda: run("SELECT 1 FROM public.jobs WHERE status = 'completed'"))
