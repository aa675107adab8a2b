"""The tables of Ittybit's guides, with the shipped files and the guides' own CREATE TABLE."""

from collections.abc import Callable, Iterator
from typing import TypeAlias
from uuid import UUID

import pytest

from ittybatch.project import CHECKOUT
from ittybatch.sinks.declared import read_sinks
from ittybatch.sinks.sql import SqlOptions, SqlSink
from tests.sinks.conftest import Run
from tests.sinks.results import COMPLETED, accepted, errors, failed, succeeded

OpenExample: TypeAlias = Callable[[str], SqlSink]
# As Prisma creates the table of the guide for Next.js.
MEDIA = """CREATE TABLE "media" (
    "id" TEXT NOT NULL, "filename" TEXT NOT NULL, "sourceUrl" TEXT NOT NULL,
    "status" TEXT NOT NULL, "outputUrl" TEXT, "createdAt" TIMESTAMP(3) NOT NULL
    DEFAULT CURRENT_TIMESTAMP, CONSTRAINT "media_pkey" PRIMARY KEY ("id"))"""
MEDIA_JOBS = """CREATE TABLE media_jobs (
    id SERIAL PRIMARY KEY,
    task_id TEXT UNIQUE,
    input_url TEXT NOT NULL,
    status TEXT DEFAULT 'pending',
    output_url TEXT,
    created_at TIMESTAMPTZ DEFAULT now(),
    completed_at TIMESTAMPTZ
)"""
JOBS = """create table public.jobs (
  id uuid primary key default gen_random_uuid(),
  input_url text not null,
  task_id text,
  status text default 'pending',
  output_url text,
  error text,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
)"""


@pytest.fixture
def open_example() -> Iterator[OpenExample]:
    """Opens the one sink of a shipped file."""
    opened: list[SqlSink] = []

    def open_sink(name: str) -> SqlSink:
        [declared] = read_sinks(CHECKOUT / "deployments" / "results" / f"{name}.yaml")
        assert isinstance(declared, SqlOptions)
        opened.append(declared.open())
        return opened[-1]

    yield open_sink
    for sink in opened:
        sink.close()


def test_the_row_of_the_server_action_becomes_ready(run: Run, open_example: OpenExample) -> None:
    """Guide "Process uploads in Next.js"."""
    run(MEDIA)
    for name in ("m1", "m2"):
        run(f"""INSERT INTO media ("id", "filename", "sourceUrl", "status")
            VALUES ('{name}', '{name}.mov', 'https://blob.test/{name}.mov', 'processing')""")
    sink = open_example("next")
    assert sink.check() is None
    library = succeeded(3, metadata={})
    outcomes = errors(sink.deliver([succeeded(1), failed(2), library]))
    assert outcomes == {1: None, 2: None, 3: None}
    assert run('SELECT "id", "status", "outputUrl" FROM media ORDER BY "id"') == [
        {"id": "m1", "status": "ready", "outputUrl": "https://cdn.test/1.mp4"},
        {"id": "m2", "status": "failed", "outputUrl": None},
    ]


def test_media_jobs_has_each_task_from_processing_to_its_end(
    run: Run, open_example: OpenExample
) -> None:
    """Guide "Media processing pipeline on Railway"; the words are those that Ittybit sends."""
    run(MEDIA_JOBS)
    sink = open_example("railway")
    assert sink.check() is None
    sink.deliver([accepted(1, task_id="task_abc123"), accepted(2)])
    assert run(
        "SELECT task_id, input_url, status, completed_at FROM media_jobs ORDER BY task_id DESC"
    ) == [
        {
            "task_id": "task_abc123",
            "input_url": "s3://media/in/1.mov",
            "status": "processing",
            "completed_at": None,
        },
        {
            "task_id": "task-2",
            "input_url": "s3://media/in/2.mov",
            "status": "processing",
            "completed_at": None,
        },
    ]
    assert errors(sink.deliver([succeeded(1, task_id="task_abc123"), failed(2)])) == {
        1: None,
        2: None,
    }
    rows = run("SELECT * FROM media_jobs ORDER BY task_id DESC")
    assert [(row["status"], row["output_url"]) for row in rows] == [
        ("succeeded", "https://cdn.test/1.mp4"),
        ("failed", None),
    ]
    assert all(row["completed_at"] == COMPLETED for row in rows)
    assert all(row["created_at"] is not None for row in rows)


def test_a_row_that_the_apps_own_server_inserted_is_updated(
    run: Run, open_example: OpenExample
) -> None:
    """Who keeps the guide's `POST /process` gets the results in its rows."""
    run(MEDIA_JOBS)
    run("""INSERT INTO media_jobs (task_id, input_url, status)
        VALUES ('task-1', 'https://example.com/video.mov', 'processing')""")
    open_example("railway").deliver([succeeded(1)])
    assert run("SELECT status FROM media_jobs") == [{"status": "succeeded"}]


def test_supabases_row_goes_from_pending_to_completed(run: Run, open_example: OpenExample) -> None:
    """Guide "Real-time processing dashboard"; the key is a uuid, which metadata has as text."""
    run(JOBS)
    rows = run("""INSERT INTO public.jobs (input_url, updated_at)
        SELECT 'https://example.com/' || n, '2026-01-01' FROM generate_series(1, 4) AS n
        RETURNING id""")
    ids = [{"job_id": str(row["id"])} for row in rows]
    sink = open_example("supabase")
    assert sink.check() is None
    sink.deliver([accepted(n, metadata=ids[n]) for n in range(4)])
    assert {
        (row["task_id"], row["status"]) for row in run("SELECT task_id, status FROM public.jobs")
    } == {(f"task-{n}", "processing") for n in range(4)}
    given = [
        succeeded(0, metadata=ids[0]),
        failed(1, metadata=ids[1]),
        failed(2, None, status="expired", metadata=ids[2]),
        failed(3, None, status="cancelled", metadata=ids[3]),
    ]
    assert set(errors(sink.deliver(given)).values()) == {None}
    ended = {
        row["id"]: (row["status"], row["output_url"], row["error"], row["updated_at"].year >= 2026)
        for row in run("SELECT * FROM public.jobs")
    }
    assert list(map(ended.get, (UUID(each["job_id"]) for each in ids))) == [
        ("completed", "https://cdn.test/0.mp4", None, True),
        ("failed", None, "no video stream", True),
        ("failed", None, "No result in time", True),
        ("failed", None, "Cancelled", True),
    ]
    assert run("SELECT count(*) FROM public.jobs WHERE updated_at = '2026-01-01'") == [{"count": 0}]


def test_a_job_that_fails_and_is_retried_with_success_keeps_no_error(
    run: Run, open_example: OpenExample
) -> None:
    """The dashboard shows the last state."""
    run(JOBS)
    [row] = run("INSERT INTO public.jobs (input_url) VALUES ('https://example.com/1') RETURNING id")
    metadata = {"job_id": str(row["id"])}
    sink = open_example("supabase")
    sink.deliver([failed(1, metadata=metadata)])
    sink.deliver([accepted(2, metadata=metadata), succeeded(3, metadata=metadata)])
    assert run("SELECT status, error, task_id FROM public.jobs") == [
        {"status": "completed", "error": None, "task_id": "task-3"}
    ]
