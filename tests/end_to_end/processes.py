"""Processes of this machine: who descends from whom, and the end of a whole family."""

import contextlib
import os
import signal
import subprocess
from collections import defaultdict


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


def _table() -> list[tuple[int, int]]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True
    )
    return [(int(pid), int(parent)) for pid, parent in map(str.split, listed.stdout.splitlines())]
