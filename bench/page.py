"""The page with a million jobs in the ledger: each of its pages, and webhooks beside its viewers.

A page is measured over HTTP, from the request's first byte to the answer's last. Beside it stands
the address of a job, which costs one lookup by primary key.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import quantiles
from urllib.parse import urlencode

import httpx
from sqlalchemy import func, select

from bench.databases import NewLedger, open_at
from bench.figure import Figure
from bench.large import batches_of, fill_large
from bench.load import Load, generate, request
from bench.servers import HOST, SECRET, serving
from ittybatch.ittybit.signature import sign
from ittybatch.ledger import Transaction
from ittybatch.ledger.models import Attempt, Chunk, Item, Job
from ittybatch.ledger.states import JobState

JOBS = 1_000_000
_CHUNK_ITEMS = 125
_TIMES = 50
_VIEWERS = (0, 5, 50)
_WARM = 400
_WEBHOOKS = 4000
_CONNECTIONS = 16
_PATH = "/webhooks/ittybit"


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Fill a ledger, and measure each page, and webhooks with viewers."""
    url = new_ledger()
    bodies = fill_large(
        url,
        JOBS,
        chunk_items=_CHUNK_ITEMS,
        in_flight=rounds * len(_VIEWERS) * (_WARM + _WEBHOOKS) + _WARM,
    )
    return [
        *pages(database, url, rounds),
        *with_viewers(database, url, bodies, rounds),
    ]


def pages(database: str, url: str, rounds: int) -> list[Figure]:
    """Each page's p95 of 50 requests, beside that of a lookup by primary key."""
    addresses = _addresses(url)
    lookup = addresses.pop("lookup")
    ours: dict[str, list[float]] = {what: [] for what in addresses}
    theirs: dict[str, list[float]] = {what: [] for what in addresses}
    with (
        serving("receiver", DATABASE_URL=url, ITTYBIT_WEBHOOK_SECRET=SECRET) as port,
        httpx.Client(base_url=f"http://{HOST}:{port}", trust_env=False, timeout=60) as client,
    ):
        for _ in range(rounds):
            for what, address in addresses.items():
                theirs[what].append(_p95_ms(client, lookup))
                ours[what].append(_p95_ms(client, address))
    return [
        Figure(
            "page",
            f"p95 of {what} at {JOBS:,} jobs on {database}",
            "ms",
            ours[what],
            "a lookup by primary key",
            theirs[what],
            "under 200 ms",
        )
        for what in addresses
    ]


def with_viewers(database: str, url: str, bodies: Sequence[bytes], rounds: int) -> list[Figure]:
    """Webhooks' p99 with viewers of the page, beside that with none."""
    left = iter(bodies)
    found: dict[int, list[Load]] = {viewers: [] for viewers in _VIEWERS}
    with serving("receiver", DATABASE_URL=url, ITTYBIT_WEBHOOK_SECRET=SECRET) as port:
        for _ in range(rounds):
            for viewers in _VIEWERS:
                warm = _webhooks([next(left) for _ in range(_WARM)])
                sent = _webhooks([next(left) for _ in range(_WEBHOOKS)])
                with _watching(port, viewers):
                    load = generate(port, _CONNECTIONS, warm, sent)
                if set(load.statuses) != {"200"}:
                    raise RuntimeError(f"The receiver answered {load.statuses}.")
                found[viewers].append(load)
    none = found[0]
    return [
        Figure(
            "page",
            f"p99 of webhooks at {_CONNECTIONS} connections with {viewers} viewers on {database}",
            "ms",
            [load.p99_ms for load in loads],
            "with none",
            [load.p99_ms for load in none],
            "under 50 ms",
        )
        for viewers, loads in found.items()
        if viewers
    ]


def _addresses(url: str) -> dict[str, str]:
    """What to ask for, by what it is."""
    ledger = open_at(url)
    ended, running = batches_of(ledger)
    job, task, uri, chunk, number = ledger.read(_some_job, ended)
    middle = f"{chunk}.{job}"
    ledger.close()

    def find(**filters: str) -> str:
        return f"/page/jobs?{urlencode(filters)}"

    return {
        "lookup": f"/page/jobs/{job}",
        "the batches": "/page/",
        "the batches, the last 24 h drawn": "/page/?window=24h",
        "the batch that has ended": f"/page/batches/{ended}",
        "the batch under way": f"/page/batches/{running}",
        "an item": f"/page/items/{chunk}/{number}",
        "the newest jobs": find(batch=ended),
        "jobs from the middle": find(batch=ended, after=middle),
        "jobs before the middle": find(batch=ended, before=middle),
        "failed jobs": find(batch=ended, state="failed"),
        "jobs of a rendition that succeeded": find(
            batch=ended, state="succeeded", rendition="poster"
        ),
        "a job by Ittybit's id": find(q=task),
        "jobs by a whole address": find(q=uri),
        "jobs by a part of an address that none has": find(batch=ended, q="no-such-name"),
        "jobs by metadata that none has": find(batch=ended, metadata="show=none"),
        "what is held back": "/page/held",
        "health": "/page/health",
        "what was done": "/page/actions",
    }


def _some_job(transaction: Transaction, batch: str) -> tuple[int, str, str, int, int]:
    """A job in the middle of a batch."""
    chunks = transaction.execute(
        select(func.min(Chunk.id), func.max(Chunk.id)).where(Chunk.batch_id == batch)
    ).one()
    row = transaction.execute(
        select(Job.id, Attempt.task_id, Item.uri, Job.chunk_id, Job.item_number)
        .join(Item, (Item.chunk_id == Job.chunk_id) & (Item.number == Job.item_number))
        .join(Attempt, Attempt.job_id == Job.id)
        .where(Job.chunk_id == sum(chunks) // 2, Job.state == JobState.SUCCEEDED.value)
        .limit(1)
    ).one()
    return row.id, row.task_id, row.uri, row.chunk_id, row.item_number


def _p95_ms(client: httpx.Client, address: str) -> float:
    times = []
    for _ in range(_TIMES):
        began_s = time.perf_counter()
        answer = client.get(address)
        times.append(time.perf_counter() - began_s)
        if answer.status_code not in {200, 303}:
            raise RuntimeError(f"{address} answered {answer.status_code}: {answer.text[:500]}")
    return 1000 * quantiles(times, n=20)[-1]


def _webhooks(bodies: Sequence[bytes]) -> list[bytes]:
    return [request(_PATH, body, sign(body, SECRET.encode())) for body in bodies]


@contextmanager
def _watching(port: int, viewers: int) -> Iterator[None]:
    """So many viewers look at the batches, in a process of its own."""
    if not viewers:
        yield
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.viewers", str(port), str(viewers)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()  # all of them look
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
