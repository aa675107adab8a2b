"""Viewers of the page: each has a stream, and fetches its region anew when something has changed.

They do what a browser does: at most one fetch a second.
"""

import asyncio
import sys

import httpx

from bench.servers import HOST

_REGION = "/page/regions/batches"
_THROTTLE_S = 1.0


async def _view(client: httpx.AsyncClient, begun: asyncio.Semaphore) -> None:
    """Watch as one browser does; the server ends streams now and then."""
    changed = asyncio.Event()
    told = False
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_fetch(client, changed))
        while True:
            async with client.stream("GET", "/page/changes") as stream:
                stream.raise_for_status()
                async for line in stream.aiter_lines():
                    if line.startswith("event:"):
                        changed.set()
                    if not told:
                        begun.release()
                        told = True


async def _fetch(client: httpx.AsyncClient, changed: asyncio.Event) -> None:
    while True:
        await changed.wait()
        changed.clear()
        answer = await client.get(_REGION, headers={"HX-Request": "true"})
        answer.raise_for_status()
        await asyncio.sleep(_THROTTLE_S)


async def _main(port: int, viewers: int) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    begun = asyncio.Semaphore(0)
    async with (
        httpx.AsyncClient(
            base_url=f"http://{HOST}:{port}", trust_env=False, timeout=None, limits=limits
        ) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(viewers):
            tasks.create_task(_view(client, begun))
        for _ in range(viewers):
            await begun.acquire()
        print("all of them look", flush=True)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
