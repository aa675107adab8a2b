"""The loopback ports of a stack: free ones, and the same as last time if possible."""

import contextlib
import json
import random
import socket
from collections.abc import Iterable
from pathlib import Path

from ittybatch_local.errors import StackError

HOST = "127.0.0.1"
# Below the ephemeral ports: otherwise an outgoing connection could take the port of a service
# while it restarts.
LOWEST, HIGHEST = 15_000, 31_999
TRIES = 200


def choose_ports(names: Iterable[str], memory: Path) -> dict[str, int]:
    """Choose a free port for each name and remember it.

    Args:
        names: The services.
        memory: The JSON file that keeps the ports between starts.

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
    """Whether a server can listen on this loopback port."""
    with contextlib.closing(socket.socket()) as candidate:
        # As servers do, because connections of the last run may still be in TIME_WAIT.
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
