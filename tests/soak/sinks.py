"""`python -m tests.soak.sinks`: a sink is down while jobs end and receivers are killed.

The sink is a table of a Postgres database behind a relay that cuts every connection. Webhooks come
all the while; the receivers are killed in turn. After that the relay is up, and the table must get
a row for every job, once.
"""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
from rich.console import Console
from sqlalchemy.engine import make_url

from bench.databases import DATABASES, ledgers, open_at
from bench.receiver import submitted
from bench.servers import HOST, SECRET
from ittybatch.ittybit.signature import HEADER, sign
from ittybatch.ledger.sinks import SinkStatus, sink_statuses
from ittybatch_local.errors import StackError
from ittybatch_local.ports import choose_ports
from ittybatch_local.probes import is_healthy
from ittybatch_local.process import ProcessSpec
from ittybatch_local.supervisor import Supervisor
from tests.receiver.relay import Line, Relay, relayed

_TABLE = "CREATE TABLE results (task_id TEXT NOT NULL, status TEXT, output_url TEXT, batch TEXT)"
_UNIQUE = "CREATE UNIQUE INDEX results_task ON results (task_id)"
_RESULTS = """
sinks:
  - name: results
    kind: sql
    url: ${RESULTS_URL}
    table: results
    mode: upsert
    key: {task_id: "{task_id}"}
    columns: {status: "{status}", output_url: "{output_url}", batch: "{batch_id}"}
"""
_CAUGHT_UP_WITHIN_S = 180.0
_BACK_WITHIN_S = 60.0
_ANSWERED_WITHIN_S = 120.0


@dataclass(slots=True)
class Outage:
    """What came of it.

    Args:
        jobs: Jobs that ended while the sink was down.
        kills: SIGKILLs of a receiver.
        down_s: Seconds for which the sink was down.
        waited: Results that waited when it came back.
        rows: Rows in the table at the end.
        distinct: Different jobs in them.
        succeeded: Rows that say so.
        caught_up_s: Seconds from the sink's return to its last row.
        slowest_answer_s: The longest that a webhook waited for its 200, outside of kills.
    """

    jobs: int
    kills: int = 0
    down_s: float = 0.0
    waited: int = 0
    rows: int = 0
    distinct: int = 0
    succeeded: int = 0
    caught_up_s: float = 0.0
    slowest_answer_s: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every job has its row, once."""
        return self.jobs == self.waited == self.rows == self.distinct == self.succeeded

    def told(self) -> str:
        """All of it, in a line."""
        return (
            f"{self.jobs:,} jobs ended in {self.down_s:.0f} s without the sink, {self.kills} "
            f"SIGKILLs; {self.waited:,} results waited; {self.rows:,} rows of {self.distinct:,} "
            f"jobs {self.caught_up_s:.1f} s after its return "
            f"({self.jobs / max(self.caught_up_s, 0.001):,.0f}/s); slowest 200: "
            f"{self.slowest_answer_s * 1000:.0f} ms"
        )


def sit_out(
    ledger_url: str,
    sink_url: str,
    *,
    jobs: int,
    down_s: float,
    kills: int,
    receivers: int = 1,
) -> Outage:
    """Take a sink away, let jobs end, kill receivers, and give it back.

    Args:
        ledger_url: An empty ledger.
        sink_url: A Postgres database for the table.
        jobs: How many jobs end meanwhile.
        down_s: Seconds of the outage.
        kills: SIGKILLs, evenly spread.
        receivers: Receivers on the same ledger.
    """
    seen = Outage(jobs)
    plain = make_url(sink_url).set(drivername="postgresql")
    direct = plain.render_as_string(hide_password=False)
    with psycopg.connect(direct, autocommit=True) as database:
        database.execute(_TABLE)
        database.execute(_UNIQUE)
    bodies = submitted(ledger_url, jobs)
    with relayed(direct) as (through, relay), _up(ledger_url, through, receivers) as up:
        _await_sink(ledger_url)
        relay.set(Line.CUT)
        _let_jobs_end(bodies, up, seen, down_s, kills)
        seen.waited = _status(ledger_url).pending
        _give_back(relay, ledger_url, seen)
    with psycopg.connect(direct) as database:
        found = database.execute(
            "SELECT count(*), count(DISTINCT task_id), "
            "count(*) FILTER (WHERE status = 'succeeded' AND output_url IS NOT NULL) FROM results"
        ).fetchone()
        assert found is not None
        seen.rows, seen.distinct, seen.succeeded = found
    return seen


@dataclass(slots=True)
class _Receivers:
    """The receivers that are up."""

    supervisor: Supervisor
    ports: dict[str, int]

    def kill_one(self, number: int) -> None:
        """Kill a receiver, and wait until another process has its port."""
        name = sorted(self.ports)[number % len(self.ports)]
        killed = self.supervisor.pid(name)
        self.supervisor.kill(name, signal.SIGKILL)
        deadline = time.monotonic() + _BACK_WITHIN_S
        while time.monotonic() < deadline:
            with contextlib.suppress(StackError):
                if self.supervisor.pid(name) != killed:
                    break
            time.sleep(0.05)
        self.supervisor.await_ready(name)


@contextmanager
def _up(ledger_url: str, sink_url: str, receivers: int) -> Iterator[_Receivers]:
    folder = Path(tempfile.mkdtemp(prefix="ittybatch-outage-"))
    try:
        (folder / "results.yaml").write_text(_RESULTS)
        names = [f"receiver-{number}" for number in range(receivers)]
        ports = choose_ports(names, folder / "ports.json")
        with Supervisor(lambda _: None) as supervisor:
            for name in names:
                supervisor.launch(_receiver(name, folder, ports[name], ledger_url, sink_url))
            for name in names:
                supervisor.await_ready(name)
            yield _Receivers(supervisor, {name: ports[name] for name in names})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _receiver(name: str, folder: Path, port: int, ledger_url: str, sink_url: str) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        command=(sys.executable, "-m", "ittybatch", "receiver", "--port", str(port)),
        log=folder / f"{name}.log",
        environment={
            **os.environ,
            "DATABASE_URL": ledger_url,
            "RESULTS_URL": sink_url,
            "ITTYBIT_WEBHOOK_SECRET": SECRET,
            "ITTYBATCH_RESULTS_FILE": str(folder / "results.yaml"),
            "ITTYBATCH_HOME": str(folder),
        },
        cwd=folder,
        is_ready=is_healthy(f"http://{HOST}:{port}/readyz"),
    )


def _let_jobs_end(
    bodies: Sequence[bytes], up: _Receivers, seen: Outage, down_s: float, kills: int
) -> None:
    """Send the webhooks over the outage, each until it is answered 200."""
    began = time.monotonic()
    ports = list(up.ports.values())
    stretch = -(-len(bodies) // (kills + 1))

    def send(number: int) -> None:
        due = began + down_s * number / len(bodies)
        time.sleep(max(0.0, due - time.monotonic()))
        _send(client, ports, number, bodies[number], seen)

    with httpx.Client(timeout=10, trust_env=False) as client, ThreadPoolExecutor(16) as senders:
        for first in range(0, len(bodies), stretch):
            sending = [
                senders.submit(send, number)
                for number in range(first, min(first + stretch, len(bodies)))
            ]
            if seen.kills < kills:
                time.sleep(down_s / (kills + 1) / 2)
                up.kill_one(seen.kills)
                seen.kills += 1
            for each in sending:
                each.result()
    time.sleep(max(0.0, began + down_s - time.monotonic()))
    seen.down_s = time.monotonic() - began


def _send(
    client: httpx.Client, ports: Sequence[int], number: int, body: bytes, seen: Outage
) -> None:
    headers = {HEADER: sign(body, SECRET.encode()), "Content-Type": "application/json"}
    gives_up_at = time.monotonic() + _ANSWERED_WITHIN_S
    attempt = 0
    while time.monotonic() < gives_up_at:
        port = ports[(number + attempt) % len(ports)]
        attempt += 1
        began = time.monotonic()
        with contextlib.suppress(httpx.TransportError):
            url = f"http://{HOST}:{port}/webhooks/ittybit"
            if client.post(url, content=body, headers=headers).status_code == 200:
                seen.slowest_answer_s = max(seen.slowest_answer_s, time.monotonic() - began)
                return
        time.sleep(0.1)
    raise TimeoutError("A webhook was never answered 200.")


def _await_sink(ledger_url: str) -> None:
    deadline = time.monotonic() + _BACK_WITHIN_S
    while time.monotonic() < deadline:
        ledger = open_at(ledger_url)
        statuses = ledger.read(sink_statuses)
        ledger.close()
        if statuses and statuses[0].active:
            return
        time.sleep(0.1)
    raise TimeoutError("No receiver has declared the sink.")


def _give_back(relay: Relay, ledger_url: str, seen: Outage) -> None:
    relay.set(Line.UP)
    deadline = time.monotonic() + _CAUGHT_UP_WITHIN_S
    began = time.monotonic()
    while (status := _status(ledger_url)).pending and time.monotonic() < deadline:
        if status.failures:
            # It waits for the end of its backoff, which is up to a minute.
            began = time.monotonic()
        time.sleep(0.1)
    seen.caught_up_s = time.monotonic() - began


def _status(ledger_url: str) -> SinkStatus:
    ledger = open_at(ledger_url)
    try:
        [status] = ledger.read(sink_statuses)
    finally:
        ledger.close()
    return status


def main() -> int:
    """Sit out an outage with a ledger on each database. Exit status 0 if no row is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.sinks", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="of the outage (600)")
    parser.add_argument("--kills", type=int, default=10, help="SIGKILLs, evenly spread (10)")
    parser.add_argument("--jobs", type=int, default=5000, help="that end meanwhile (5000)")
    parser.add_argument("--database", action="append", choices=DATABASES, help="only this one")
    asked = parser.parse_args()
    console = Console()
    holds = True
    for database in asked.database or DATABASES:
        with ledgers(database) as new_ledger, ledgers("postgres") as new_table:
            seen = sit_out(
                new_ledger(),
                new_table(),
                jobs=asked.jobs,
                down_s=asked.seconds,
                kills=asked.kills,
                receivers=1 if database == "sqlite" else 2,
            )
        holds = holds and seen.holds
        console.print(f"{database}: {seen.told()}", highlight=False)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
