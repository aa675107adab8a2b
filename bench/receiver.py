"""The receiver: durable webhooks per second, each of which settles one job.

Compared with a no-op route of the same server, and with the same code and one commit per
request.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice

import orjson
from sqlalchemy import func, select

from bench.databases import NewLedger, open_at, released_chunks
from bench.figure import Figure
from bench.load import Load, generate, request
from bench.servers import SECRET, serving
from ittybatch.engine.sending import metadata_of
from ittybatch.ittybit.signature import sign
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.models import Job
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import Accepted, Submission, claim_due, record_accepted

CONNECTIONS = 64
WEBHOOKS = 8000
ALONE_WEBHOOKS = 1500
_WARM = 800
_CHUNK_ITEMS = 200
_ENCODING = 500
_PATH = "/webhooks/ittybit"


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Measure ours, the no-op route, and one commit per request in turn."""
    ours: list[Load] = []
    noop: list[Load] = []
    alone: list[Load] = []
    for number in range(rounds):
        first, second = _round(new_ledger(), noop_first=number % 2 == 0)
        ours.append(first)
        noop.append(second)
        alone.append(_alone(new_ledger()))
    what = f"durable webhooks at {CONNECTIONS} connections on {database}"
    rate = [load.per_s for load in ours]
    return [
        Figure(
            "receiver",
            what,
            "webhooks/s",
            rate,
            "a no-op route of the same server",
            [load.per_s for load in noop],
            "at least 0.5",
        ),
        Figure(
            "receiver",
            what,
            "webhooks/s",
            rate,
            "a commit for each request",
            [load.per_s for load in alone],
            "at least 4",
        ),
        Figure(
            "receiver",
            f"p99 of {what}",
            "ms",
            [load.p99_ms for load in ours],
            "a no-op route of the same server",
            [load.p99_ms for load in noop],
            "under 50 ms",
        ),
    ]


def _round(ledger_url: str, *, noop_first: bool) -> tuple[Load, Load]:
    bodies = submitted(ledger_url, WEBHOOKS + _WARM)
    webhooks = _requests(_PATH, bodies)
    nothings = _requests("/noop", bodies)
    with serving("receiver", DATABASE_URL=ledger_url, ITTYBIT_WEBHOOK_SECRET=SECRET) as port:
        if noop_first:
            noop = _generate(port, nothings)
            ours = _generate(port, webhooks)
        else:
            ours = _generate(port, webhooks)
            noop = _generate(port, nothings)
    _check(ledger_url, len(bodies))
    return ours, noop


def _alone(ledger_url: str) -> Load:
    """One commit per request: the same code with groups of one."""
    bodies = submitted(ledger_url, ALONE_WEBHOOKS + _WARM)
    environment = {
        "DATABASE_URL": ledger_url,
        "ITTYBIT_WEBHOOK_SECRET": SECRET,
        "BENCH_GROUP": "1",
    }
    with serving("receiver", **environment) as port:
        load = _generate(port, _requests(_PATH, bodies))
    _check(ledger_url, len(bodies))
    return load


def _generate(port: int, requests: Sequence[bytes]) -> Load:
    load = generate(port, CONNECTIONS, requests[:_WARM], requests[_WARM:])
    if set(load.statuses) != {"200"}:
        raise RuntimeError(f"The receiver answered {load.statuses}.")
    return load


def submitted(ledger_url: str, jobs: int) -> list[bytes]:
    """Fill a ledger with submitted jobs; returns a success webhook for each."""
    ledger = open_at(ledger_url)
    bodies: list[bytes] = []
    for chunk in released_chunks(ledger, jobs, chunk_items=_CHUNK_ITEMS):
        claimed = ledger.write(claim_due, chunk, jobs)
        ledger.write(
            record_accepted,
            [Accepted(each.job_id, each.attempt, task_of(each)) for each in claimed],
        )
        bodies.extend(webhook_of(each) for each in claimed)
    ledger.close()
    return list(islice(_as_they_end(bodies), jobs))


def _as_they_end(bodies: Sequence[bytes]) -> Iterator[bytes]:
    """In submission order, shuffled within the number of jobs that encode at a time."""
    chance = random.Random(1)
    for first in range(0, len(bodies), _ENCODING):
        among = list(bodies[first : first + _ENCODING])
        chance.shuffle(among)
        yield from among


def task_of(sent: Submission) -> str:
    """Ittybit's id of a submission."""
    return f"task_{sent.job_id:012}"


def webhook_of(sent: Submission) -> bytes:
    """The webhook of a submission's success."""
    return orjson.dumps(
        {
            "id": task_of(sent),
            "object": "job",
            "kind": sent.kind,
            "status": "succeeded",
            "input": sent.input,
            "options": sent.options,
            "output": {
                "url": f"https://store.ittybit.net/org_123/{task_of(sent)}.mp4",
                "format": "mp4",
                "width": 1920,
                "height": 1080,
                "duration": 124.5,
                "size": 48230912,
            },
            "error": None,
            "metadata": metadata_of(sent),
            "created_at": 1775212200000,
            "completed_at": 1775212274000,
        }
    )


def _requests(path: str, bodies: Sequence[bytes]) -> list[bytes]:
    secret = SECRET.encode()
    return [request(path, body, sign(body, secret)) for body in bodies]


def _check(ledger_url: str, jobs: int) -> None:
    """Check that no webhook was lost."""
    ledger: Ledger = open_at(ledger_url)

    def succeeded(transaction: Transaction) -> int:
        count: int = transaction.execute(
            select(func.count()).where(Job.state == JobState.SUCCEEDED.value)
        ).scalar_one()
        return count

    found = ledger.read(succeeded)
    ledger.close()
    if found != jobs:
        raise RuntimeError(f"{jobs} webhooks were answered 200, but {found} jobs succeeded.")
