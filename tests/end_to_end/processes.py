"""Processes of this machine: who descends from whom, and the end of a whole family."""

import contextlib
import os
import signal
import subprocess
from collections import defaultdict
from pathlib import Path


def parent_of(pid: int) -> int:
    """The parent of a process."""
    return next(parent for each, parent in _table() if each == pid)


def descendants(pid: int) -> list[int]:
    """Everything that a process has started, and what those have, the eldest first."""
    children: dict[int, list[int]] = defaultdict(list)
    for each, parent in _table():
        children[parent].append(each)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        born = children[waiting.pop(0)]
        found += born
        waiting += born
    return found


def kill(pids: list[int]) -> None:
    """End processes so that none of them can say or mend anything."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used, its threads' together."""
    # The name, in brackets, may hold anything; what follows it does not.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def ports_to(pid: int, port: int) -> set[int]:
    """This machine's ports from which a process holds connections to another port of it."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed since
            sockets.add(str(descriptor.readlink()))
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, *_, inode = line.split()[:10]
        if int(remote.rpartition(":")[2], 16) == port and f"socket:[{inode}]" in sockets:
            found.add(int(local.rpartition(":")[2], 16))
    return found


def _table() -> list[tuple[int, int]]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True
    )
    return [(int(pid), int(parent)) for pid, parent in map(str.split, listed.stdout.splitlines())]
