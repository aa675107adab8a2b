"""Waiting: what a system costs while a batch's chunks are all asleep.

Beside it, the same system while there is nothing to wait for.
"""

import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.databases import NewLedger
from bench.figure import Figure
from bench.whole import whole_system
from tests.end_to_end import processes
from tests.end_to_end.sleepers import leg_processes, put_to_sleep, write_pictures
from tests.end_to_end.system import System
from tests.soak.run import reconciling

CHUNKS = 50
LOOK_S_A_ROUND = 10.0
_LOOK_EVERY_S = 0.1
_SETTLE_S = 10.0
_A_DAY_S = 86_400.0
# `prefect.server` tells of each request only at this level.
_PREFECT = {"PREFECT_SERVER_LOGGING_LEVEL": "INFO"}
_REQUEST = re.compile(r'127\.0\.0\.1:(\d+) - "(\w+ [^ ?]+)')
_SERVICES = ("receiver", "worker", "prefect-server")


@dataclass(frozen=True, slots=True)
class Watched:
    """What went on for a while, a minute of it.

    Args:
        processes: The most processes that worked on flow runs at one time.
        ittybit: Requests to Ittybit.
        prefect: Requests to Prefect, by who made them: a service, or anybody else.
        cpu_ms: Milliseconds of CPU, by service.
    """

    processes: int
    ittybit: float
    prefect: Mapping[str, float]
    cpu_ms: Mapping[str, float]


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Look for ten seconds a round at each of the two."""
    look_s = LOOK_S_A_ROUND * rounds
    with whole_system(new_ledger(), _PREFECT) as system, reconciling(system, _A_DAY_S):
        time.sleep(_SETTLE_S)
        idle = _watch(system, look_s)
        source = write_pictures(system.stack.home / "manifest.csv", CHUNKS, prefix="waiting")
        put_to_sleep(system, source, CHUNKS)
        time.sleep(_SETTLE_S)
        waiting = _watch(system, look_s)
    return _figures(database, waiting, idle)


def _watch(system: System, look_s: float) -> Watched:
    log = system.stack.home / "logs" / "prefect-server.log"
    services = {name: system.stack.pid(name) for name in _SERVICES}
    prefect_port = int(system.stack.prefect_url.rpartition(":")[2])
    owners: dict[int, str] = {}
    most = 0
    said, asked = log.stat().st_size, _asked(system)
    spent_s = {name: processes.cpu_s(pid) for name, pid in services.items()}
    began = time.monotonic()
    while time.monotonic() - began < look_s:
        most = max(most, len(leg_processes(system)))
        for name in ("receiver", "worker"):
            owners |= dict.fromkeys(processes.ports_to(services[name], prefect_port), name)
        time.sleep(_LOOK_EVERY_S)
    a_minute = 60 / (time.monotonic() - began)
    requests = _requests(log, said, owners)
    return Watched(
        processes=most,
        ittybit=(_asked(system) - asked) * a_minute,
        prefect={name: count * a_minute for name, count in requests.items()},
        cpu_ms={
            name: (processes.cpu_s(pid) - spent_s[name]) * 1000 * a_minute
            for name, pid in services.items()
        },
    )


def _asked(system: System) -> int:
    return sum(system.wire.summary()["requests"].values())


def _requests(log: Path, after: int, owners: Mapping[int, str]) -> Counter[str]:
    """Prefect's own list of requests, by who held the connection that each came over."""
    with log.open() as lines:
        lines.seek(after)
        ports = [int(found[1]) for line in lines if (found := _REQUEST.search(line))]
    return Counter(owners.get(port, "anybody else") for port in ports)


def _figures(database: str, waiting: Watched, idle: Watched) -> list[Figure]:
    def figure(what: str, unit: str, ours: float, theirs: float, target: str = "") -> Figure:
        while_they_wait = f"{what}, {CHUNKS} chunks waiting on {database}"
        return Figure("waiting", while_they_wait, unit, [ours], "nothing waits", [theirs], target)

    def of_prefect(name: str, what: str, target: str = "") -> Figure:
        ours, theirs = waiting.prefect.get(name, 0), idle.prefect.get(name, 0)
        return figure(f"requests to Prefect by {what}", "/min", ours, theirs, target)

    def cpu(name: str, what: str, target: str = "") -> Figure:
        ours, theirs = waiting.cpu_ms[name], idle.cpu_ms[name]
        return figure(f"CPU of {what}", "ms/min", ours, theirs, target)

    return [
        figure("flow runs' processes", "", waiting.processes, idle.processes, "0"),
        figure("requests to Ittybit", "/min", waiting.ittybit, idle.ittybit, "0"),
        of_prefect("anybody else", "flow runs", "0"),
        of_prefect("receiver", "the waker", "under 60"),
        of_prefect("worker", "the worker"),
        cpu("receiver", "the receiver and its waker", "under 3,000"),
        cpu("worker", "the worker"),
        cpu("prefect-server", "Prefect's server"),
    ]
