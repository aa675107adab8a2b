"""The loopback ports of a stack: free ones, the same as last time where they still are."""

import contextlib
import json
import random
import socket
from collections.abc import Iterable
from pathlib import Path

from ittybatch_local.errors import StackError

HOST = "127.0.0.1"
# Below the range that systems hand to outgoing connections: a service that is down for a
# restart must not find its port taken by a client of one of its neighbours.
LOWEST, HIGHEST = 15_000, 31_999
TRIES = 200


def choose_ports(names: Iterable[str], memory: Path) -> dict[str, int]:
    """Choose one free port a name and remember the choice.

    Args:
        names: What the ports are for.
        memory: The JSON file that remembers them from one start to the next.

    Raises:
        StackError: No free port was found.
    """
    remembered = _remembered(memory)
    chosen: dict[str, int] = {}
    for name in names:
        earlier = remembered.get(name)
        if earlier is not None and earlier not in chosen.values() and is_free(earlier):
            chosen[name] = earlier
        else:
            chosen[name] = _free_port({*chosen.values(), *remembered.values()})
    memory.write_text(json.dumps({**remembered, **chosen}, indent=2) + "\n")
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with contextlib.closing(socket.socket()) as candidate:
        # As servers do: connections of the last run that are still closing do not count.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port(taken: set[int]) -> int:
    for _ in range(TRIES):
        port = random.randint(LOWEST, HIGHEST)  # noqa: S311 - not a secret
        if port not in taken and is_free(port):
            return port
    raise StackError(f"No free port was found between {LOWEST} and {HIGHEST} on {HOST}.")


def _remembered(memory: Path) -> dict[str, int]:
    try:
        content = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {
        str(name): port
        for name, port in content.items()
        if isinstance(port, int) and LOWEST <= port <= HIGHEST
    }
