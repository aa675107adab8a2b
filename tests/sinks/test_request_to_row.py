"""The guides from end to end: a request comes in, and its result stands in the app's own table."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ittybatch.project import CHECKOUT
from tests.receiver.api_client import Api
from tests.receiver.harness import SECRET, wait_until
from tests.receiver.test_api_jobs import connected
from tests.sandbox import harness as sandboxes
from tests.sinks.conftest import Run
from tests.sinks.test_sql_guides import JOBS, MEDIA, MEDIA_JOBS

INTAKE = """
tables:
  - table: jobs
    tasks: [{kind: video, options: {width: 1280, format: mp4, quality: high}}]
"""
VIDEO = {"kind": "video", "options": {"width": 1280, "format": "mp4", "quality": "high"}}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[sandboxes.Running]:
    """A sandbox that ends each job at once."""
    with sandboxes.running(instant=True, webhook_secret=SECRET) as up:
        yield up


@contextmanager
def receiver(
    ledger_url: str, folder: Path, sandbox: sandboxes.Running, example: str
) -> Iterator[Api]:
    """A receiver with one of the shipped files of results."""
    (folder / "intake.yaml").write_text(INTAKE)
    with connected(
        ledger_url,
        folder,
        api_url=sandbox.url,
        intake_file=folder / "intake.yaml",
        results_file=CHECKOUT / "deployments" / "results" / f"{example}.yaml",
    ) as api:
        yield api


def test_a_posted_url_has_its_row_in_media_jobs(
    postgres_url: str, tmp_path: Path, sandbox: sandboxes.Running, run: Run
) -> None:
    """Guide "Media processing pipeline on Railway": the row has the task of the answer."""
    run(MEDIA_JOBS)
    url = f"https://example.com/uploads/{time.monotonic_ns()}.mov"
    with receiver(postgres_url, tmp_path, sandbox, "railway") as api:
        task = api.post({"url": url, **VIDEO}).json()["task_id"]
        query = f"SELECT * FROM media_jobs WHERE task_id = '{task}' AND status = 'succeeded'"
        wait_until(lambda: run(query))
    [row] = run("SELECT * FROM media_jobs")
    assert (row["task_id"], row["input_url"]) == (task, url)
    assert row["output_url"].startswith("http")
    assert row["completed_at"] is not None


def test_two_records_of_one_file_are_both_ready(
    postgres_url: str, tmp_path: Path, sandbox: sandboxes.Running, run: Run
) -> None:
    """Guide "Process uploads in Next.js": the job is made once, and each record hears of it."""
    run(MEDIA)
    url = f"https://example.com/blob/{time.monotonic_ns()}.mov"
    with receiver(postgres_url, tmp_path, sandbox, "next") as api:
        for record in ("m1", "m2", "m3"):
            run(f"""INSERT INTO media ("id", "filename", "sourceUrl", "status")
                VALUES ('{record}', 'a.mov', '{url}', 'processing')""")
            answer = api.post({"input": url, **VIDEO, "metadata": {"media_id": record}})
            assert answer.status_code in {200, 202}
            wait_until(lambda: run("SELECT 1 FROM media WHERE status = 'ready'"))
        wait_until(lambda: not run("SELECT 1 FROM media WHERE status <> 'ready'"))
    assert len({row["outputUrl"] for row in run("SELECT * FROM media")}) == 1
    assert len([job for job in sandbox.all_jobs() if job["input"] == url]) == 1


def test_an_inserted_row_is_completed_by_its_own_webhook(
    postgres_url: str, tmp_path: Path, sandbox: sandboxes.Running, run: Run
) -> None:
    """Guide "Real-time processing dashboard": Supabase posts the row, and gets it back."""
    run(JOBS)
    url = f"https://example.com/uploads/{time.monotonic_ns()}.mov"
    [row] = run(f"INSERT INTO public.jobs (input_url) VALUES ('{url}') RETURNING id, input_url")
    record = {"id": str(row["id"]), "input_url": row["input_url"]}
    with receiver(postgres_url, tmp_path, sandbox, "supabase") as api:
        event = {"type": "INSERT", "schema": "public", "table": "jobs", "record": record}
        assert api.post(event).status_code < 300
        wait_until(lambda: run("SELECT 1 FROM public.jobs WHERE status = 'completed'"))
    [row] = run("SELECT * FROM public.jobs")
    assert row["task_id"]
    assert row["output_url"].startswith("http")
    assert row["error"] is None


def test_a_row_is_there_within_two_seconds_of_its_webhook(
    postgres_url: str, tmp_path: Path, sandbox: sandboxes.Running, run: Run
) -> None:
    """The median of 20, from the request on: the sandbox needs no time."""
    run(MEDIA_JOBS)
    times_s = []
    with receiver(postgres_url, tmp_path, sandbox, "railway") as api:
        for number in range(20):
            url = f"https://example.com/fast/{number}-{time.monotonic_ns()}.mov"
            began = time.monotonic()
            api.post({"url": url, **VIDEO})
            query = f"SELECT 1 FROM media_jobs WHERE input_url = '{url}' AND status = 'succeeded'"
            wait_until(lambda query=query: run(query))  # type: ignore[misc]
            times_s.append(time.monotonic() - began)
    assert statistics.median(times_s) < 2
