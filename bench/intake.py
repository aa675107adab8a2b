"""Requests: `POST /process` a second, each answered with Ittybit's id of a job.

Compared with the server of Ittybit's guide, which sends the job first and stores it afterwards, on
the same Postgres and before the same API.
"""

from collections.abc import Sequence
from contextlib import ExitStack

import orjson
from sqlalchemy import func, select

from bench.databases import NewLedger, is_available, ledgers, open_at
from bench.figure import Figure
from bench.guide import guides_rows, guides_server
from bench.load import Load, generate, post
from bench.servers import HOST, SECRET, serving
from ittybatch.ledger import Transaction
from ittybatch.ledger.models import Job

CONNECTIONS = 64
REQUESTS = 6000
_WARM = 1000
_TOKEN = "bench-token-bench-token"
_OPTIONS = {"width": 1280, "format": "mp4", "quality": "high"}
_BESIDE = "the guide's server on Postgres"


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Measure ours and the guide's server in turn."""
    if not is_available("postgres"):
        raise RuntimeError("The guide's server needs Postgres: install the extra `local`.")
    requests = [_request(number) for number in range(_WARM + REQUESTS)]
    ours: list[Load] = []
    theirs: list[Load] = []
    with ExitStack() as opened:
        new_database = new_ledger
        if database != "postgres":
            new_database = opened.enter_context(ledgers("postgres"))
        api = f"http://{HOST}:{opened.enter_context(serving('api'))}"
        for number in range(rounds):
            if number % 2:
                ours.append(_ours(new_ledger(), api, requests))
            theirs.append(_theirs(new_database(), api, requests))
            if not number % 2:
                ours.append(_ours(new_ledger(), api, requests))
    return _figures(database, ours, theirs)


def _ours(ledger_url: str, api_url: str, requests: Sequence[bytes]) -> Load:
    environment = {
        "DATABASE_URL": ledger_url,
        "ITTYBATCH_API_TOKEN": _TOKEN,
        "ITTYBIT_API_KEY": "bench-key",
        "ITTYBIT_API_URL": api_url,
        "ITTYBIT_WEBHOOK_SECRET": SECRET,
        "WEBHOOK_URL": "https://receiver.example.com/webhooks/ittybit",
    }
    with serving("receiver", **environment) as port:
        load = _generate(port, requests, "202")
    _check("ours", _stored(ledger_url))
    return load


def _theirs(database_url: str, api_url: str, requests: Sequence[bytes]) -> Load:
    with guides_server(database_url, api_url) as port:
        load = _generate(port, requests, "200")
    _check("the guide's", guides_rows(database_url))
    return load


def _generate(port: int, requests: Sequence[bytes], status: str) -> Load:
    load = generate(
        port, CONNECTIONS, requests[:_WARM], requests[_WARM:], expected=b'"task_id":"task_'
    )
    if set(load.statuses) != {status}:
        raise RuntimeError(f"The server answered {load.statuses}.")
    return load


def _request(number: int) -> bytes:
    """The guide's request, for an upload of its own."""
    body = {
        "url": f"https://example.com/uploads/{number:07}.mov",
        "kind": "video",
        "options": _OPTIONS,
    }
    return post("/process", orjson.dumps(body), {"Authorization": f"Bearer {_TOKEN}"})


def _stored(ledger_url: str) -> int:
    def read(transaction: Transaction) -> int:
        count: int = transaction.execute(
            select(func.count()).where(Job.task_id.is_not(None))
        ).scalar_one()
        return count

    ledger = open_at(ledger_url)
    try:
        return ledger.read(read)
    finally:
        ledger.close()


def _check(whose: str, rows: int) -> None:
    """Check that every answered request is in the database."""
    if rows != _WARM + REQUESTS:
        raise RuntimeError(f"{_WARM + REQUESTS} requests were answered, and {whose} has {rows}.")


def _figures(database: str, ours: Sequence[Load], theirs: Sequence[Load]) -> list[Figure]:
    what = f"requests at {CONNECTIONS} connections on {database}"

    def figure(what: str, unit: str, value: str, target: str) -> Figure:
        return Figure(
            "intake",
            what,
            unit,
            [getattr(load, value) for load in ours],
            _BESIDE,
            [getattr(load, value) for load in theirs],
            target,
        )

    return [
        figure(what, "requests/s", "per_s", "at least 1"),
        figure(f"p50 of {what}", "ms", "p50_ms", "at most 1"),
        figure(f"p99 of {what}", "ms", "p99_ms", "under 1,000 ms"),
        figure("CPU of the load generator for a request", "us", "cpu_us", "under 100 us"),
    ]
