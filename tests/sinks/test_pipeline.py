"""From the ledger to the user's table: the outbox, the deliverer and the SQL sink together."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import update

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.models import Job
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.sinks import sink_statuses, sync_sinks
from ittybatch.ledger.submission import claim_due
from ittybatch.project import CHECKOUT
from ittybatch.sinks.declared import for_ledger, open_sinks, read_sinks
from ittybatch.sinks.deliverer import Deliverer
from tests.ledger import library
from tests.sinks.conftest import Run
from tests.sinks.scene import Counts, wait_until
from tests.sinks.test_sql_guides import MEDIA_JOBS


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    """A ledger on the Postgres that has the app's database, too."""
    opened = Ledger(create_ledger_engine(postgres_url))
    yield opened
    opened.close()


@contextmanager
def delivering(ledger: Ledger, example: str) -> Iterator[Deliverer]:
    """A deliverer for the sinks of a shipped file."""
    sinks = read_sinks(CHECKOUT / "deployments" / "results" / f"{example}.yaml")
    ledger.write(sync_sinks, for_ledger(sinks))
    deliverer = Deliverer(ledger, for_ledger(sinks), open_sinks(sinks), Counts())
    deliverer.start()
    try:
        yield deliverer
    finally:
        deliverer.stop()


def test_a_job_that_is_retried_keeps_the_row_of_its_first_task(ledger: Ledger, run: Run) -> None:
    """It is the id that the request was answered with; the guide's reader polls for it."""
    run(MEDIA_JOBS)
    query = "SELECT task_id, status, output_url FROM media_jobs"
    with delivering(ledger, "railway") as deliverer:
        chunk, _ = library.submitted(ledger, library.job("a.mov"))
        deliverer.wake()
        wait_until(lambda: run(query))
        assert run(query) == [{"task_id": "task-0", "status": "processing", "output_url": None}]
        ledger.write(settle, [library.failed("task-0")])
        ledger.write(lambda tx: tx.execute(update(Job).values(not_before=None)))
        library.accept(ledger, ledger.write(claim_due, chunk, 10), "again")
        ledger.write(settle, [library.remote("again-0")])
        deliverer.wake()
        wait_until(lambda: run(query)[0]["status"] == "succeeded")
    assert run(query) == [
        {"task_id": "task-0", "status": "succeeded", "output_url": "https://cdn.test/out.mp4"}
    ]


def test_a_table_that_was_missing_for_hours_catches_up_fast(ledger: Ledger, run: Run) -> None:
    """More than 1,000 rows a second, and each job has its row once."""
    jobs = [library.job(f"{n}.mov") for n in range(3000)]
    chunk = library.released_chunk(ledger, library.planned_batch(ledger, *jobs, chunk_size=3000))
    with delivering(ledger, "railway") as deliverer:
        submissions = ledger.write(claim_due, chunk, 3000)
        library.accept(ledger, submissions)
        ledger.write(settle, [library.remote(f"task-{n}") for n in range(3000)])
        deliverer.wake()
        wait_until(lambda: ledger.read(sink_statuses)[0].failures)
        run(MEDIA_JOBS)
        wait_until(lambda: run("SELECT count(*) FROM media_jobs")[0]["count"])
        began = time.monotonic()
        wait_until(lambda: ledger.read(sink_statuses)[0].pending == 0)
        took_s = time.monotonic() - began
    assert run("SELECT status, count(*) FROM media_jobs GROUP BY 1") == [
        {"status": "succeeded", "count": 3000}
    ]
    # Acceptances and ends are events of their own.
    assert 6000 / took_s > 1000
