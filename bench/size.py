"""A large ledger: statements, webhooks during a recount, and the bytes that a job takes."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from statistics import quantiles
from typing import Any

from sqlalchemy import event, text

from bench.databases import NewLedger, open_at, released_chunks
from bench.figure import Figure
from bench.full import fill
from bench.receiver import submitted, task_of, webhook_of
from ittybatch.ittybit.webhook import parse_webhook
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.counters import recount_all
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.overdue import overdue_jobs
from ittybatch.ledger.quarantine import held_jobs
from ittybatch.ledger.retention import tidy
from ittybatch.ledger.submission import Accepted, claim_due, record_accepted
from ittybatch.ledger.watch import read_watch

JOBS = 1_000_000
_SMALL = 10_000
_IN_FLIGHT = 20_000
_LIFE_JOBS = 20_000
_GROUP = 16
_CLAIM = 256
_WEBHOOKS = 4_000
_CHUNK_ITEMS = 125
_TABLES = ("jobs", "attempts", "items", "deliveries")


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Measure the large ledger beside a small one, and a busy one beside a quiet one."""
    large, small = new_ledger(), new_ledger()
    bodies = _filled(large, JOBS)
    _filled(small, _SMALL)
    longest = [(_longest_ms(large), _longest_ms(small)) for _ in range(rounds)]
    waits = []
    for _ in range(rounds):
        quiet, bodies = _webhooks_ms(large, bodies)
        with _recounting(large):
            busy, bodies = _webhooks_ms(large, bodies)
        waits.append((busy, quiet))
    figures = [
        Figure(
            "size",
            f"longest statement of recount, polling, quarantine, metrics at {JOBS:,} jobs "
            f"on {database}",
            "ms",
            [ours for ours, _ in longest],
            f"at {_SMALL:,} jobs",
            [theirs for _, theirs in longest],
            "under 1,000 ms",
        ),
        Figure(
            "size",
            f"p99 of commits of {_GROUP} webhooks during recounts at {JOBS:,} jobs on {database}",
            "ms",
            [ours for ours, _ in waits],
            "without",
            [theirs for _, theirs in waits],
            "100 ms more at most",
        ),
    ]
    if database == "postgres":
        sizes = [_bytes_a_job(new_ledger()) for _ in range(rounds)]
        figures.append(
            Figure(
                "size",
                "bytes a job after tidying on postgres",
                "B",
                [after for _, after in sizes],
                "before",
                [before for before, _ in sizes],
                "700 B",
            )
        )
    return figures


def recount_for_ever(url: str) -> None:
    """Recount as no reconcile does: again and again."""
    ledger = open_at(url)
    while True:
        list(recount_all(ledger))


def _filled(url: str, jobs: int) -> list[bytes]:
    """A ledger with old batches and one under way; gives the webhooks of its jobs."""
    ledger = open_at(url)
    fill(ledger, jobs, chunk_items=_CHUNK_ITEMS)
    bodies = submitted(url, _IN_FLIGHT)
    _maintain(ledger, "ANALYZE")
    ledger.close()
    return bodies


def _longest_ms(url: str) -> float:
    ledger = open_at(url)
    times: list[float] = []

    def begin(connection: Any, *_: object) -> None:  # noqa: ANN401  SQLAlchemy's
        connection.info["began_s"] = time.perf_counter()

    def end(connection: Any, *_: object) -> None:  # noqa: ANN401  SQLAlchemy's
        times.append(time.perf_counter() - connection.info["began_s"])

    event.listen(ledger.engine, "before_cursor_execute", begin)
    event.listen(ledger.engine, "after_cursor_execute", end)
    list(recount_all(ledger))
    ledger.read(overdue_jobs, silent_s=900, limit=200)
    ledger.read(held_jobs)
    ledger.read(held_jobs, input_prefix="s3://nowhere/")
    ledger.read(read_watch)
    ledger.close()
    return 1000 * max(times)


def _webhooks_ms(url: str, bodies: list[bytes]) -> tuple[float, list[bytes]]:
    """The 99th percentile of some group commits, and the webhooks that are left."""
    ledger = open_at(url)
    times = []
    for first in range(0, _WEBHOOKS, _GROUP):
        began_s = time.perf_counter()
        _settle(ledger, bodies[first : first + _GROUP])
        times.append(time.perf_counter() - began_s)
    ledger.close()
    return 1000 * quantiles(times, n=100)[-1], bodies[_WEBHOOKS:]


@contextmanager
def _recounting(url: str) -> Iterator[None]:
    program = "import sys; from bench.size import recount_for_ever; recount_for_ever(sys.argv[1])"
    process = subprocess.Popen([sys.executable, "-c", program, url])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _bytes_a_job(url: str) -> tuple[float, float]:
    """Before and after tidying, of jobs that have been through all of their life."""
    ledger = open_at(url)
    for chunk in released_chunks(ledger, _LIFE_JOBS, chunk_items=_CHUNK_ITEMS):
        _live(ledger, chunk)
    before = _size(ledger)
    ledger.write(_end_all)
    tidy(ledger, older_than=timedelta(0))
    after = _size(ledger)
    ledger.close()
    return before / _LIFE_JOBS, after / _LIFE_JOBS


def _live(ledger: Ledger, chunk: int) -> None:
    """Claim, accept and settle a chunk's jobs in groups as a leg and a receiver do."""
    while claimed := ledger.write(claim_due, chunk, _CLAIM):
        for first in range(0, len(claimed), _GROUP):
            group = claimed[first : first + _GROUP]
            answers = [Accepted(each.job_id, each.attempt, task_of(each)) for each in group]
            ledger.write(record_accepted, answers)
        random.Random(chunk).shuffle(claimed)
        for first in range(0, len(claimed), _GROUP):
            _settle(ledger, [webhook_of(each) for each in claimed[first : first + _GROUP]])


def _settle(ledger: Ledger, bodies: Sequence[bytes]) -> None:
    ledger.write(receive, [Arrival(body, parse_webhook(body).job) for body in bodies])


def _end_all(transaction: Transaction) -> None:
    transaction.execute(text("UPDATE chunks SET state = 'done'"))
    transaction.execute(text("UPDATE batches SET state = 'succeeded', ended_at = now()"))


def _size(ledger: Ledger) -> float:
    _maintain(ledger, "VACUUM")
    tables = " + ".join(f"pg_total_relation_size('{table}')" for table in _TABLES)
    query = text(f"SELECT {tables}")
    return float(ledger.read(lambda tx: tx.execute(query).scalar_one()))


def _maintain(ledger: Ledger, what: str) -> None:
    with ledger.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text(what))
