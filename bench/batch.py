"""A batch of ten thousand jobs from its order to its report, beside the usual recipe.

Both use the same Prefect server and the same instant sandbox, one after the other. The recipe is
measured with fewer jobs, and given for each: its cost a job hardly depends on how many there are.
Its imports are not counted; ours are, with a process for each flow run.
"""

import subprocess
import sys

from bench.databases import NewLedger
from bench.figure import Figure
from bench.lane import Lane, running
from bench.meter import Cost

JOBS = 10_000
RECIPE_JOBS = 400
CHUNK_ITEMS = 2500
_MAX_ROUNDS = 3
_RECIPE = f"the recipe (a task a job), {RECIPE_JOBS} jobs"


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Jobs a second, CPU and requests to Prefect a job."""
    ours: list[Cost] = []
    theirs: list[Cost] = []
    with running(new_ledger()) as lane:
        for _ in range(min(rounds, _MAX_ROUNDS)):
            theirs.append(recipe(lane, RECIPE_JOBS))
            ours.append(lane.batch(JOBS, chunk_size=CHUNK_ITEMS)[1])
    what = f"{database}: a batch of {JOBS:,} jobs"

    def figure(of: str, name: str, unit: str, target: str) -> Figure:
        return Figure(
            bench="batch",
            what=f"{what}, {of}",
            unit=unit,
            ours=[getattr(each, name) for each in ours],
            reference=_RECIPE,
            theirs=[getattr(each, name) for each in theirs],
            target=target,
        )

    return [
        figure("end to end", "jobs_per_s", "jobs/s", "at least 10 times"),
        figure("CPU", "cpu_ms_per_job", "ms/job", ""),
        figure("requests to Prefect", "requests_per_1000_jobs", "/1,000 jobs", "at most 100"),
    ]


def recipe(lane: Lane, jobs: int) -> Cost:
    """Measure the usual recipe on a running system.

    Raises:
        RuntimeError: Not every job succeeded.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.recipe", str(jobs)],
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
