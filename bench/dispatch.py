"""Dispatch: jobs a second through client and ledger to a server that answers at once.

Beside it, the same requests through plain httpx and through bare aiohttp, with no ledger.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import aiohttp
import httpx
import orjson

from bench.databases import NewLedger, open_at, released_chunks
from bench.figure import Figure
from bench.servers import HOST, serving
from ittybatch.engine.dispatch import Dispatcher
from ittybatch.engine.sending import metadata_of
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ledger.submission import claim_due

CONNECTIONS = 64
JOBS = 4000
# Plain httpx takes seconds for what the others do in one.
HTTPX_JOBS = 1000
_KEY = "bench-key"
_WEBHOOK_URL = "https://receiver.example.com/webhooks/ittybit"

Send = Callable[[bytes, str], Awaitable[None]]


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Measure ours, plain httpx and bare aiohttp in turn."""
    ours: list[float] = []
    plain: list[float] = []
    bare: list[float] = []
    bodies = _bodies(new_ledger())
    with serving("api") as port:
        url = f"http://{HOST}:{port}"
        asyncio.run(_bare_aiohttp(url, bodies[:500]))  # the server's first requests are slow
        for _ in range(rounds):
            ours.append(_ours(url, new_ledger()))
            plain.append(asyncio.run(_plain_httpx(url, bodies[:HTTPX_JOBS])))
            bare.append(asyncio.run(_bare_aiohttp(url, bodies)))
    what = f"jobs through client and ledger on {database}"
    at = f"at {CONNECTIONS} connections"
    return [
        Figure("dispatch", what, "jobs/s", ours, f"plain httpx {at}", plain, "at least 8"),
        Figure("dispatch", what, "jobs/s", ours, f"bare aiohttp {at}", bare, "at least 0.25"),
    ]


def _ours(url: str, ledger_url: str) -> float:
    ledger = open_at(ledger_url)
    [chunk] = released_chunks(ledger, JOBS, chunk_items=JOBS)

    async def run() -> float:
        async with IttybitClient(_KEY, base_url=url, max_connections=CONNECTIONS) as client:
            dispatcher = Dispatcher(
                ledger, client, chunk, concurrency=CONNECTIONS, webhook_url=_WEBHOOK_URL
            )
            began = time.perf_counter()
            done = await dispatcher.run()
            taken_s = time.perf_counter() - began
        if done.accepted != JOBS:
            raise RuntimeError(f"{done.accepted} of {JOBS} jobs were accepted.")
        return JOBS / taken_s

    try:
        return asyncio.run(run())
    finally:
        ledger.close()


def _bodies(ledger_url: str) -> list[bytes]:
    """The same bodies that the client sends."""
    ledger = open_at(ledger_url)
    [chunk] = released_chunks(ledger, JOBS, chunk_items=JOBS)
    claimed = ledger.write(claim_due, chunk, JOBS)
    ledger.close()
    return [
        orjson.dumps(
            {
                "input": each.input,
                "kind": each.kind,
                "metadata": metadata_of(each),
                "options": each.options,
                "webhook_url": _WEBHOOK_URL,
            }
        )
        for each in claimed
    ]


async def _plain_httpx(url: str, bodies: list[bytes]) -> float:
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as client:

        async def send(body: bytes, key: str) -> None:
            (await client.post("/jobs", content=body, headers=_headers(key))).raise_for_status()

        return await _at_once(send, bodies)


async def _bare_aiohttp(url: str, bodies: list[bytes]) -> float:
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def send(body: bytes, key: str) -> None:
            async with session.post(f"{url}/jobs", data=body, headers=_headers(key)) as answer:
                answer.raise_for_status()
                await answer.read()

        return await _at_once(send, bodies)


def _headers(key: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {_KEY}",
        "Content-Type": "application/json",
        "Idempotency-Key": key,
    }


async def _at_once(send: Send, bodies: list[bytes]) -> float:
    """Send all of them, a fixed number at a time; returns requests per second."""
    left = enumerate(bodies)

    async def work(mine: Iterator[tuple[int, bytes]]) -> None:
        for number, body in mine:
            await send(body, f"{number:032x}")

    began = time.perf_counter()
    await asyncio.gather(*(work(left) for _ in range(CONNECTIONS)))
    return len(bodies) / (time.perf_counter() - began)
