"""Guide 000, "Process uploads in Next.js": our receiver behind the Server Action."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ittybatch.settings import CHECKOUT
from tests.guides.server import Server, serving
from tests.receiver.harness import wait_until
from tests.sandbox.harness import Running as Sandbox
from tests.sinks.conftest import Run

OPTIONS = {"width": 1280, "format": "mp4", "quality": "high"}
# The guide names the columns of its table `media`, which Prisma creates.
MEDIA = """CREATE TABLE media (
    "id" TEXT PRIMARY KEY, "filename" TEXT NOT NULL, "sourceUrl" TEXT NOT NULL,
    "status" TEXT NOT NULL, "outputUrl" TEXT)"""
RECORD = """INSERT INTO media ("id", "filename", "sourceUrl", "status")
    VALUES ('{id}', '{name}.mov', 'https://example.com/{name}.mov', 'processing')"""


@pytest.fixture
def server(sandbox: Sandbox, sqlite_url: str, run: Run, tmp_path: Path) -> Iterator[Server]:
    """A server whose results go to the table `media`, by the shipped file."""
    run(MEDIA)
    results = CHECKOUT / "deployments" / "results" / "next.yaml"
    with serving(sandbox, sqlite_url, tmp_path, results=results) as started:
        yield started


def record(run: Run, record_id: str, name: str) -> str:
    """What the Server Action does before it dispatches: store the file, make a row."""
    run(RECORD.format(id=record_id, name=name))
    return f"https://example.com/{name}.mov"


def test_the_row_becomes_ready_with_its_output(server: Server, run: Run) -> None:
    """The body of the Server Action, posted to our `/process` instead of to Ittybit."""
    url = record(run, "ckx0", "video")
    answer = server.taken(
        {"input": url, "kind": "video", "options": OPTIONS, "metadata": {"media_id": "ckx0"}}
    )
    done = server.ended(answer["job_id"])
    assert done["metadata"] == {"media_id": "ckx0"}
    wait_until(lambda: run("SELECT 1 FROM media WHERE status <> 'processing'"))
    assert run('SELECT "status", "outputUrl" FROM media') == [
        {"status": "ready", "outputUrl": done["output_url"]}
    ]


def test_the_row_becomes_failed(server: Server, run: Run) -> None:
    """As the guide's route handler sets it, without an output."""
    url = record(run, "ckx1", "broken")
    error = {"kind": "invalid_input", "message": "could not decode the input"}
    faults = {"jobs": [{"action": "fail_always", "error": error}]}
    server.sandbox.client.post("/_sandbox/faults", json=faults).raise_for_status()
    server.taken({"input": url, "options": OPTIONS, "metadata": {"media_id": "ckx1"}})
    wait_until(lambda: run("SELECT 1 FROM media WHERE status <> 'processing'"))
    assert run('SELECT "status", "outputUrl" FROM media') == [
        {"status": "failed", "outputUrl": None}
    ]


def test_two_rows_with_the_same_file_are_both_ready(server: Server, run: Run) -> None:
    """The file is processed and paid once."""
    for media_id in ("ckx2", "ckx3"):
        url = record(run, media_id, "same")
        body = {"input": url, "options": OPTIONS, "metadata": {"media_id": media_id}}
        server.ended(server.taken(body)["job_id"])
    wait_until(lambda: len(run("SELECT 1 FROM media WHERE status = 'ready'")) == 2)
    assert len(server.sandbox.all_jobs()) == 1
