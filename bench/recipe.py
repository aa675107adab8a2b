"""The usual recipe: a flow with a task for each job, which submits it and polls until it ends.

Nothing is done here to make it slow: connections are kept, and as many tasks run at a time as
an account that is not to be throttled allows. How often they ask is said on the command line.
"""

import os
import sys
import time

import httpx
from prefect import flow, task
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner

AT_A_TIME = 16
_ENDED = {"succeeded", "failed", "cancelled"}

client = httpx.Client(
    base_url=os.environ["ITTYBIT_API_URL"],
    headers={"Authorization": f"Bearer {os.environ['ITTYBIT_API_KEY']}"},
    timeout=30,
)


@task(retries=3, retry_delay_seconds=10)
def make_poster(address: str, ask_every_s: float) -> str:
    """Have one picture made, and give where it is."""
    options = {"format": "webp", "width": 320}
    asked = client.post("/jobs", json={"input": address, "kind": "image", "options": options})
    asked.raise_for_status()
    job = asked.json()
    while job["status"] not in _ENDED:
        time.sleep(ask_every_s)
        answer = client.get(f"/jobs/{job['id']}")
        answer.raise_for_status()
        job = answer.json()
    if job["status"] != "succeeded":
        raise RuntimeError(f"{address}: {job['error']}")
    return str(job["output"])


@flow(task_runner=ThreadPoolTaskRunner(max_workers=AT_A_TIME))  # type: ignore[arg-type]  # its own
def make_posters(addresses: list[str], ask_every_s: float) -> int:
    """Have all of them made; gives how many were."""
    made = make_poster.map(addresses, ask_every_s)
    wait(made)
    return sum(future.state.is_completed() for future in made)


def main(jobs: int, ask_every_s: float) -> None:
    """Be ready, wait to be told, and tell how many jobs have succeeded."""
    print("ready", flush=True)
    sys.stdin.readline()
    addresses = [f"s3://library/recipe/{n}.png" for n in range(jobs)]
    print(make_posters(addresses, ask_every_s), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
