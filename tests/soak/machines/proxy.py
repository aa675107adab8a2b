"""A load balancer of TCP connections: to each target in turn, past those that do not answer.

python -m tests.soak.machines.proxy PORT HOST:PORT HOST:PORT
"""

import asyncio
import contextlib
import itertools
import sys

_CONNECT_S = 1.0
# Longer than a sender of webhooks waits: what hangs is given up by the sender first.
_IDLE_S = 30.0
_BLOCK = 65536


async def serve(port: int, targets: list[tuple[str, int]]) -> None:
    """Forward connections until the process ends.

    Args:
        port: The port to listen on, on every address.
        targets: Hosts and ports.
    """
    turns = itertools.count()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = next(turns)
        with contextlib.closing(writer):
            for number in range(len(targets)):
                host, its_port = targets[(turn + number) % len(targets)]
                with contextlib.suppress(OSError, TimeoutError):
                    there = await asyncio.wait_for(
                        asyncio.open_connection(host, its_port), _CONNECT_S
                    )
                    break
            else:
                return
            with contextlib.closing(there[1]):
                both = (_pump(reader, there[1]), _pump(there[0], writer))
                await asyncio.gather(*both, return_exceptions=True)

    server = await asyncio.start_server(forward, port=port)
    await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await asyncio.wait_for(reader.read(_BLOCK), _IDLE_S):
            writer.write(data)
            await writer.drain()
    finally:
        with contextlib.suppress(OSError):
            writer.close()


if __name__ == "__main__":
    named = [each.rpartition(":") for each in sys.argv[2:]]
    asyncio.run(serve(int(sys.argv[1]), [(host, int(port)) for host, _, port in named]))
