"""What a piece of work costs: time, CPU and memory of every process, requests to Prefect.

Linux only: it reads /proc. CPU of processes that have ended is their parents' there.
"""

import os
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LOOK_EVERY_S = 0.25
_MB = 1024
# What uvicorn logs of a request that it has answered.
_REQUEST = re.compile(rb'"([A-Z]+) (/api/[^ ?"]*)[^"]*" \d{3}')
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=/name/).*")
# What a process is, by a piece of its command line; the first that fits.
_ROLES = (
    ("guard.py", "guards"),
    ("prefect server", "prefect-server"),
    ("prefect.server", "prefect-server"),
    ("prefect worker", "worker"),
    ("ittybatch receiver", "receiver"),
    ("ittybatch sandbox", "sandbox"),
    ("moto.server", "s3"),
    ("postgres", "postgres"),
    ("bench.recipe", "recipe"),
)
_FLOW_RUN = b"PREFECT__FLOW_RUN_ID="


@dataclass(slots=True)
class Cost:
    """What a piece of work came to.

    Args:
        jobs: Jobs done.
        took_s: Seconds on the clock.
        requests: Requests to Prefect's API, by method and route.
        cpu_s: CPU seconds by role; `ended` is what processes that have ended took.
        peak_mb: Most private memory of any one process, by role or by `run ID` of a flow run.
    """

    jobs: int
    took_s: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)

    @property
    def jobs_per_s(self) -> float:
        """Jobs a second."""
        return self.jobs / self.took_s

    @property
    def cpu_ms_per_job(self) -> float:
        """Milliseconds of CPU a job, of all processes together."""
        return 1000 * sum(self.cpu_s.values()) / self.jobs

    @property
    def requests_per_1000_jobs(self) -> float:
        """Requests to Prefect's API, for a thousand jobs."""
        return 1000 * self.requests.total() / self.jobs


class Meter:
    """Measures this process's children, and theirs.

    Args:
        access_log: Where Prefect's server logs its requests.
    """

    def __init__(self, access_log: Path) -> None:
        self._log = access_log
        self._peak_kb: dict[str, int] = {}

    @contextmanager
    def measuring(self, jobs: int) -> Iterator[Cost]:
        """Measure a block; what it gives is filled in at the end of it."""
        cost = Cost(jobs)
        self._peak_kb = {}
        stopping = threading.Event()
        looking = threading.Thread(target=self._look_until, args=(stopping,), daemon=True)
        offset = self._log.stat().st_size
        before, began = _cpu_s(), time.perf_counter()
        looking.start()
        try:
            yield cost
        finally:
            stopping.set()
            looking.join()
        cost.took_s = time.perf_counter() - began
        after = _cpu_s()
        cost.cpu_s = {role: after[role] - before[role] for role in after}
        cost.requests = self._requests(offset)
        cost.peak_mb = {role: kb / _MB for role, kb in sorted(self._peak_kb.items())}

    def _requests(self, offset: int) -> Counter[str]:
        with self._log.open("rb") as stream:
            stream.seek(offset)
            found = _REQUEST.findall(stream.read())
        return Counter(f"{method.decode()} {_ID.sub('*', path.decode())}" for method, path in found)

    def _look_until(self, stopping: threading.Event) -> None:
        while not stopping.wait(_LOOK_EVERY_S):
            for process in _family():
                name = process.flow_run or process.role
                kb = _private_kb(process.pid)
                self._peak_kb[name] = max(kb, self._peak_kb.get(name, 0))


class _Process(NamedTuple):
    pid: int
    role: str
    flow_run: str | None
    own_ticks: int
    children_ticks: int


def _cpu_s() -> dict[str, float]:
    spent: dict[str, float] = defaultdict(float)
    for each in _family():
        spent[each.role] += each.own_ticks / _TICKS_PER_S
        spent["ended"] += each.children_ticks / _TICKS_PER_S
    return spent


def _family() -> list[_Process]:
    """This process's descendants."""
    stats = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (line := _read(entry / "stat")):
            stats[int(entry.name)] = line.rpartition(b")")[2].split()
    children = defaultdict(list)
    for pid, stat in stats.items():
        children[int(stat[1])].append(pid)
    found = []
    waiting = list(children[os.getpid()])
    while waiting:
        pid = waiting.pop()
        waiting += children[pid]
        role, flow_run = _role(pid)
        utime, stime, cutime, cstime = map(int, stats[pid][11:15])
        found.append(_Process(pid, role, flow_run, utime + stime, cutime + cstime))
    return found


def _role(pid: int) -> tuple[str, str | None]:
    flow_run = next(
        (
            each.removeprefix(_FLOW_RUN).decode()
            for each in _read(_PROC / str(pid) / "environ").split(b"\0")
            if each.startswith(_FLOW_RUN)
        ),
        None,
    )
    if flow_run:
        return "flow runs", f"run {flow_run}"
    command = _read(_PROC / str(pid) / "cmdline").replace(b"\0", b" ").decode(errors="replace")
    return next((role for piece, role in _ROLES if piece in command), "others"), None


def _private_kb(pid: int) -> int:
    """Memory that is the process's alone: PostgreSQL's processes share most of theirs."""
    for line in _read(_PROC / str(pid) / "status").splitlines():
        if line.startswith(b"RssAnon:"):
            return int(line.split()[1])
    return 0


def _read(path: Path) -> bytes:
    """A file of a process, empty where the process has gone."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
