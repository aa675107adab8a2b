"""`python -m tests.soak.receiver`: a receiver under load that is killed in the middle of it.

64 connections send webhooks without a rest, each with bytes of its own. What breaks is sent
again, as Ittybit does. In the end everything that was answered 200 has to be in the ledger.
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from sqlalchemy import func, select

from bench.databases import DATABASES, ledgers, open_at
from bench.load import request
from bench.receiver import submitted
from bench.servers import HOST, SECRET
from ittybatch.ittybit.signature import sign
from ittybatch.ledger import Transaction
from ittybatch.ledger.models import Delivery, Job
from ittybatch.ledger.states import JobState
from ittybatch_local.errors import StackError
from ittybatch_local.ports import choose_ports
from ittybatch_local.probes import is_healthy
from ittybatch_local.process import ProcessSpec
from ittybatch_local.supervisor import Supervisor

CONNECTIONS = 64
_PATH = "/webhooks/ittybit"
_RECONNECT_AFTER_S = 0.05
_BACK_WITHIN_S = 60.0
_LAST_ANSWER_WITHIN_S = 30.0


@dataclass(slots=True)
class Hammered:
    """What came of it.

    Args:
        answered: Webhooks that were answered 200, each with bytes of its own.
        answered_after_a_kill: Those of them that a later process answered.
        broken: Requests whose connection broke before the answer, and that were sent again.
        other: Answers of any other status; sent again, too.
        kills: SIGKILLs.
        kept: Deliveries in the ledger, answered or not.
        missing: Webhooks that were answered 200 and are not in the ledger.
        unsettled: Jobs whose success was answered 200, and that have not succeeded.
        took_s: Seconds under load, and without a receiver after each kill.
    """

    answered: int = 0
    answered_after_a_kill: int = 0
    broken: int = 0
    other: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    kept: int = 0
    missing: int = 0
    unsettled: int = 0
    took_s: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether all that was answered 200 is kept, and has had its effect."""
        return self.answered > 0 and not self.missing and not self.unsettled

    def told(self) -> str:
        """All of it, in a line."""
        return (
            f"{self.answered:,} answered 200 in {self.took_s:.0f} s "
            f"({self.answered_after_a_kill:,} after a kill), {self.kills} SIGKILLs, "
            f"{self.broken} broken, {sum(self.other.values())} refused, all of them sent again; "
            f"{self.kept:,} kept, {self.missing} missing, {self.unsettled} jobs not settled"
        )


def hammer(ledger_url: str, *, seconds: float, kills: int = 1, jobs: int = 1000) -> Hammered:
    """Send webhooks to a receiver of its own for so many seconds, and kill it in between.

    Args:
        ledger_url: An empty ledger.
        seconds: Of load, in stretches of the same length, with a kill at the end of each but
            the last.
        kills: How many of them.
        jobs: Jobs that the webhooks are about, in turn.
    """
    bodies = submitted(ledger_url, jobs)
    folder = Path(tempfile.mkdtemp(prefix="ittybatch-hammer-"))
    try:
        port = choose_ports(["receiver"], folder / "ports.json")["receiver"]
        with Supervisor(lambda _: None) as supervisor:
            supervisor.launch(_receiver(folder, port, ledger_url))
            supervisor.await_ready("receiver")
            senders = _Senders(port, bodies)
            asyncio.run(_see_through(senders, supervisor, seconds / (kills + 1), kills))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _compare(ledger_url, senders)
    return senders.seen


def _receiver(folder: Path, port: int, ledger_url: str) -> ProcessSpec:
    return ProcessSpec(
        name="receiver",
        command=(sys.executable, "-m", "ittybatch", "receiver", "--port", str(port)),
        log=folder / "receiver.log",
        environment={
            **os.environ,
            "DATABASE_URL": ledger_url,
            "ITTYBIT_WEBHOOK_SECRET": SECRET,
            "ITTYBATCH_HOME": str(folder),
        },
        cwd=folder,
        is_ready=is_healthy(f"http://{HOST}:{port}/readyz"),
    )


class _Senders:
    """Connections that send what they are given until they are told to stop."""

    def __init__(self, port: int, bodies: Sequence[bytes]) -> None:
        self.seen = Hammered()
        self.told: set[bytes] = set()
        self._port = port
        self._bodies = bodies
        self._next = 0
        self._again: deque[int] = deque()
        self._stopping = False

    def start(self) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self._send()) for _ in range(CONNECTIONS)]

    def stop(self) -> None:
        """Send nothing new; what has to be sent again is."""
        self._stopping = True

    @property
    def jobs_told(self) -> int:
        """How many of the jobs have had their success answered 200."""
        return min(len(self._bodies), self._next)

    def _body(self, number: int) -> bytes:
        turn, place = divmod(number, len(self._bodies))
        return self._bodies[place][:-1] + b',"turn":%d}' % turn

    def _take(self) -> int | None:
        if self._again:
            return self._again.popleft()
        if self._stopping:
            return None
        self._next += 1
        return self._next - 1

    async def _send(self) -> None:
        while (number := self._take()) is not None:
            self._again.append(number)  # until somebody has a connection for it
            try:
                reader, writer = await asyncio.open_connection(HOST, self._port)
            except OSError:
                await asyncio.sleep(_RECONNECT_AFTER_S)
                continue
            try:
                await self._send_over(reader, writer)
            finally:
                writer.close()

    async def _send_over(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secret = SECRET.encode()
        while (number := self._take()) is not None:
            body = self._body(number)
            try:
                writer.write(request(_PATH, body, sign(body, secret)))
                status = await _status(reader)
            except (OSError, asyncio.IncompleteReadError):
                self.seen.broken += 1
                self._again.append(number)
                return
            if status == "200":
                self.seen.answered += 1
                self.seen.answered_after_a_kill += self.seen.kills > 0
                self.told.add(hashlib.sha256(body).digest())
            else:
                self.seen.other[status] += 1
                self._again.append(number)
                await asyncio.sleep(_RECONNECT_AFTER_S)


async def _status(reader: asyncio.StreamReader) -> str:
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
    return head[9:12].decode()


async def _see_through(
    senders: _Senders, supervisor: Supervisor, stretch_s: float, kills: int
) -> None:
    began = time.monotonic()
    sending = senders.start()
    await asyncio.sleep(stretch_s)
    for _ in range(kills):
        killed = supervisor.pid("receiver")
        supervisor.kill("receiver", signal.SIGKILL)
        await asyncio.to_thread(_await_another, supervisor, killed)
        senders.seen.kills += 1
        await asyncio.sleep(stretch_s)
    senders.stop()
    async with asyncio.timeout(_LAST_ANSWER_WITHIN_S):
        await asyncio.gather(*sending)
    senders.seen.took_s = time.monotonic() - began


def _await_another(supervisor: Supervisor, killed: int) -> None:
    """Wait until a process other than the one that was killed answers."""
    deadline = time.monotonic() + _BACK_WITHIN_S
    while True:
        with contextlib.suppress(StackError):
            if supervisor.pid("receiver") != killed:
                break
        if time.monotonic() > deadline:
            raise TimeoutError("The receiver was not started again.")
        time.sleep(_RECONNECT_AFTER_S)
    supervisor.await_ready("receiver")


def _compare(ledger_url: str, senders: _Senders) -> None:
    """Hold what was answered 200 against what the ledger has."""
    ledger = open_at(ledger_url)

    def read(transaction: Transaction) -> tuple[set[bytes], int]:
        digests = transaction.rows(select(Delivery.digest))
        succeeded = transaction.execute(
            select(func.count()).where(Job.state == JobState.SUCCEEDED.value)
        ).scalar_one()
        return {bytes.fromhex(digest) for (digest,) in digests}, succeeded

    kept, succeeded = ledger.read(read)
    ledger.close()
    senders.seen.kept = len(kept)
    senders.seen.missing = len(senders.told - kept)
    senders.seen.unsettled = senders.jobs_told - succeeded


def main() -> int:
    """Hammer a receiver on each database. Exit status 0 if nothing is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.receiver", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of load (60)")
    parser.add_argument("--kills", type=int, default=1, help="SIGKILLs, evenly spread (1)")
    parser.add_argument("--jobs", type=int, default=50_000, help="that webhooks are about (50000)")
    parser.add_argument("--database", action="append", choices=DATABASES, help="only this one")
    asked = parser.parse_args()
    console = Console()
    holds = True
    for database in asked.database or DATABASES:
        with ledgers(database) as new_ledger:
            seen = hammer(new_ledger(), seconds=asked.seconds, kills=asked.kills, jobs=asked.jobs)
        holds = holds and seen.holds
        console.print(f"{database}: {seen.told()}", highlight=False)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
