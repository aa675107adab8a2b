"""A batch of ten thousand jobs from its order to its report, beside the usual recipe.

All use the same Prefect server and the same instant sandbox, one after the other. The recipe is
a Prefect task for each job that submits and polls, and is measured twice: asking every two
seconds, which is oftener than any of Prefect's own integrations does by default; and as fast as
it can be, asking so often that a service would throttle it. It is measured with fewer jobs: its
cost a job hardly depends on how many there are. Its imports are not counted; ours are, with a
process for each flow run.
"""

import subprocess
import sys

from bench.databases import NewLedger
from bench.figure import Figure
from bench.lane import Lane, running
from bench.meter import Cost

JOBS = 10_000
CHUNK_ITEMS = 2500
_MAX_ROUNDS = 3
_USUAL = "the usual recipe (a task a job, asking every 2 s)"
_FASTEST = "the recipe at its fastest (asking every 0.1 s)"
# How many jobs the recipe is measured with, and how often it asks.
_RECIPES = {_USUAL: (200, 2.0), _FASTEST: (400, 0.1)}


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Jobs a second, CPU and requests to Prefect a job."""
    ours: list[Cost] = []
    theirs: dict[str, list[Cost]] = {name: [] for name in _RECIPES}
    with running(new_ledger()) as lane:
        for _ in range(min(rounds, _MAX_ROUNDS)):
            for name, (jobs, ask_every_s) in _RECIPES.items():
                theirs[name].append(recipe(lane, jobs, ask_every_s))
            ours.append(lane.batch(JOBS, chunk_size=CHUNK_ITEMS)[1])

    def figure(reference: str, of: str, name: str, unit: str, target: str) -> Figure:
        return Figure(
            bench="batch",
            what=f"{database}: a batch of {JOBS:,} jobs, {of}",
            unit=unit,
            ours=[getattr(each, name) for each in ours],
            reference=reference,
            theirs=[getattr(each, name) for each in theirs[reference]],
            target=target,
        )

    return [
        figure(_USUAL, "end to end", "jobs_per_s", "jobs/s", "at least 10 times"),
        figure(_FASTEST, "end to end", "jobs_per_s", "jobs/s", ""),
        figure(_FASTEST, "CPU", "cpu_ms_per_job", "ms/job", ""),
        figure(
            _FASTEST,
            "requests to Prefect",
            "requests_per_1000_jobs",
            "/1,000 jobs",
            "at most 100",
        ),
    ]


def recipe(lane: Lane, jobs: int, ask_every_s: float) -> Cost:
    """Measure the recipe on a running system.

    Raises:
        RuntimeError: Not every job succeeded.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.recipe", str(jobs), str(ask_every_s)],
        env=lane.system.stack.process_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        process.stdout.readline()
        with lane.meter.measuring(jobs) as cost:
            process.stdin.write("go\n")
            process.stdin.flush()
            succeeded = process.stdout.readline()
    if succeeded.strip() != str(jobs):
        raise RuntimeError(f"Of the recipe's {jobs} jobs, {succeeded.strip()!r} succeeded.")
    return cost
