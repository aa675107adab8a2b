"""`python -m tests.soak.intake`: receivers that are killed under 64 connections of `POST /process`.

Clients cut requests off, send them twice, with an Idempotency-Key and without. Ittybit's API fails
or accepts a job and cuts its answer; webhooks are lost, doubled and delayed. In the end each
request that was answered 202 has its job, each job has ended, and the sandbox has none twice.
"""

import argparse
import asyncio
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.results import JobRow
from ittybatch_local import LocalStack
from ittybatch_local.errors import StackError
from ittybatch_local.ports import choose_ports
from ittybatch_local.probes import is_healthy
from ittybatch_local.process import ProcessSpec
from ittybatch_local.supervisor import Supervisor
from tests.end_to_end.system import System
from tests.soak.alone import DATABASES, alone
from tests.soak.begin import trying
from tests.soak.requests import HOST, Answered, Clients
from tests.soak.verdict import Verdict, judge_jobs

FAULTS: dict[str, Any] = {
    "api": {
        "rate_limited": {"probability": 0.02, "retry_after_s": 1},
        "server_error": {"probability": 0.03},
        "cut_after_accept": {"probability": 0.05},
        "slow": {"probability": 0.1, "seconds": 1},
    },
    "webhooks": {
        "duplicated": {"probability": 0.1},
        "delayed": {"probability": 0.05, "seconds": 3},
        "reordered": {"probability": 0.05},
        "lost": {"probability": 0.02},
    },
    "jobs": [{"action": "fail_once", "probability": 0.02}],
}
_SECOND = "second-receiver"
_LAST_ANSWERS_WITHIN_S = 90.0
_LOOK_EVERY_S = 0.5
# A webhook that has not come for so long is asked after, by a command that is run so often.
_POLL_AFTER_S, _RECONCILE_EVERY_S = 20.0, 15.0
_HURRIED_S = 5.0
_BACK_WITHIN_S = 60.0


@dataclass(slots=True)
class Taken:
    """What came of it.

    Args:
        seed: Of clients, kills and faults.
        kills: SIGKILLs of a receiver.
        under_load_s: Seconds under load.
        ended_after_s: Seconds from the last answer until every job had ended.
        answered: What clients were told.
        verdicts: What ledger and sandbox have, by batch.
        wrong: What does not fit to the answers.
    """

    seed: int
    kills: int = 0
    under_load_s: float = 0.0
    ended_after_s: float = 0.0
    answered: Answered = field(default_factory=Answered)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether everything fits together."""
        return not self.wrong and all(each.holds for each in self.verdicts.values())

    def told(self) -> str:
        """All of it."""
        seen = self.answered
        jobs = sum(sum(each.states.values()) for each in self.verdicts.values())
        attempts = sum(each.attempts for each in self.verdicts.values())
        answers = ", ".join(f"{count:,} {status}" for status, count in seen.statuses.items())
        summary = (
            f"seed {self.seed}: {answers} in {self.under_load_s:.0f} s with {self.kills} "
            f"SIGKILLs; {seen.cut:,} cut by clients, {seen.broken:,} broken, {seen.doubled:,} sent "
            f"again after their 202; {seen.without_task:,} answers without a task_id; {jobs:,} "
            f"jobs, {attempts:,} attempts accepted; all had ended {self.ended_after_s:.0f} s later"
        )
        verdicts = [line for each in self.verdicts.values() for line in each.told()]
        lines = [summary, *self.wrong[:10], *verdicts]
        return "\n".join(lines)


def hammer(
    system: System,
    *,
    seed: int,
    kills: int,
    pause_s: float,
    second: bool,
    within_s: float,
    hurry: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Taken:
    """Send requests, kill receivers, and wait until every job has ended.

    Args:
        system: A running system with an instant sandbox.
        seed: Decides what clients do, when a receiver is killed, and the faults.
        kills: How many times a receiver is killed.
        pause_s: The longest pause of a client between two requests.
        second: Whether a second receiver works on the same ledger.
        within_s: Seconds after the last answer within which every job has to end.
        hurry: Whether retries do not wait, and webhooks are soon asked after.
        tell: Receives a line for each step.
    """
    before = system.wire.summary()
    taken = Taken(seed)
    stack = system.stack
    with _second_receiver(system) if second else _nobody() as other:
        ports = [int(stack.receiver_url.rpartition(":")[2]), *([other.port] if other else [])]
        clients = Clients(ports, stack.api_token, seed, pause_s)
        with system.wire.faults({"seed": seed, **FAULTS}):
            asyncio.run(_see_through(taken, clients, system, other, kills=kills, tell=tell))
            taken.answered = clients.seen
            began = time.monotonic()
            batches = _await_ends(system, taken, within_s, hurry=hurry, tell=tell)
            taken.ended_after_s = time.monotonic() - began
    for batch in batches:
        taken.verdicts[batch] = judge_jobs(system, batch, before)
    taken.wrong += _compare(clients, [row for batch in batches for row in system.jobs(batch)])
    return taken


@dataclass(frozen=True, slots=True)
class _Other:
    """A receiver beside the stack's own."""

    supervisor: Supervisor
    port: int


@contextmanager
def _nobody() -> Iterator[None]:
    yield None


@contextmanager
def _second_receiver(system: System) -> Iterator[_Other]:
    home = system.stack.home
    port = choose_ports([_SECOND], home / "second-ports.json")[_SECOND]
    spec = ProcessSpec(
        name=_SECOND,
        command=(sys.executable, "-m", "ittybatch", "receiver", "--port", str(port)),
        log=home / "logs" / f"{_SECOND}.log",
        environment=system.stack.process_environment(),
        cwd=home,
        is_ready=is_healthy(f"http://{HOST}:{port}/healthz"),
    )
    with Supervisor(lambda _: None) as supervisor:
        supervisor.launch(spec)
        supervisor.await_ready(_SECOND)
        yield _Other(supervisor, port)


async def _see_through(
    taken: Taken,
    clients: Clients,
    system: System,
    other: _Other | None,
    *,
    kills: int,
    tell: Callable[[str], None],
) -> None:
    chance = random.Random(f"kills {taken.seed}")
    began = time.monotonic()
    sending = clients.start()
    for number in range(kills):
        await asyncio.sleep(chance.uniform(1.0, 3.0))
        if other is not None and number % 2:
            pid, kill = other.supervisor.pid, other.supervisor.kill
            name = _SECOND
        else:
            pid, kill, name = system.stack.pid, system.stack.kill, "receiver"
        killed = pid(name)
        kill(name, signal.SIGKILL)
        taken.kills += 1
        tell(f"{time.monotonic() - began:5.0f} s: SIGKILL for the {name}")
        await _restarted(lambda pid=pid, name=name: pid(name), killed)  # type: ignore[misc]
    await asyncio.sleep(chance.uniform(1.0, 3.0))
    clients.stop()
    async with asyncio.timeout(_LAST_ANSWERS_WITHIN_S):
        await asyncio.gather(*sending)
    taken.under_load_s = time.monotonic() - began


async def _restarted(pid: Callable[[], int], killed: int) -> None:
    deadline = time.monotonic() + _BACK_WITHIN_S
    while time.monotonic() < deadline:
        with suppress(StackError):
            if pid() != killed:
                return
        await asyncio.sleep(0.1)
    raise TimeoutError("A killed receiver was not started again.")


def _await_ends(
    system: System, taken: Taken, within_s: float, *, hurry: bool, tell: Callable[[str], None]
) -> Sequence[str]:
    """Wait until no job is open; ask after those whose webhook is lost."""
    poll_after_s, every_s = (
        (_HURRIED_S, _HURRIED_S) if hurry else (_POLL_AFTER_S, _RECONCILE_EVERY_S)
    )
    began = asked_at = time.monotonic()
    while True:
        batches = accepting(system)
        left = sum(each.counts["planned"] + each.counts["in_flight"] for each in batches)
        waited_s = time.monotonic() - began
        if batches and not left:
            return [each.id for each in batches]
        if waited_s > within_s:
            taken.wrong.append(f"{left} jobs are open after {within_s:g} s")
            return [each.id for each in batches]
        if time.monotonic() - asked_at > every_s:
            tell(f"{left} jobs are open")
            if hurry:
                for batch in batches:
                    system.end_backoffs(batch.id)
            system.command("reconcile", ITTYBATCH_POLL_AFTER_S=f"{poll_after_s:g}")
            asked_at = time.monotonic()
        time.sleep(_LOOK_EVERY_S)


def _compare(clients: Clients, rows: Sequence[JobRow]) -> Iterator[str]:
    """Hold the answers against the ledger."""
    by_id = {str(row.id): row for row in rows}
    by_url: dict[str, set[str]] = {}
    for row in rows:
        by_url.setdefault(row.input, set()).add(str(row.id))
    for url, ids in by_url.items():
        if len(ids) > 1:
            yield f"{url} has {len(ids)} jobs"
    for url, jobs in clients.seen.jobs.items():
        if len(set(jobs)) != 1:
            yield f"{url} was answered with the jobs {sorted(set(jobs))}"
        elif (found := by_id.get(jobs[0])) is None:
            yield f"{url} was answered 202 with job {jobs[0]}, which is not in the ledger"
        elif found.input != url:
            yield f"{url} was answered with the job of {found.input}"
    for job, tasks in clients.seen.tasks.items():
        known = by_id.get(job)
        if known is not None and known.attempts == 1 and tasks != {known.task_id}:
            yield f"job {job} was answered as {sorted(tasks)}; the ledger has {known.task_id}"


def accepting(system: System) -> list[BatchStatus]:
    """The batches that take requests."""
    return [
        each
        for each in system.recent()
        if each.source.get("type") == "requests" and not each.state.ended
    ]


def close(system: System, batches: Iterable[str]) -> None:
    """Cancel batches that would take requests until the end of the day."""
    for batch in batches:
        system.command("cancel", batch)
        system.await_end(batch)


def main() -> int:
    """Hammer the receivers once for each seed and database. Exit status 0 if all of it holds."""
    asked = _arguments()
    console = Console()
    first = asked.seed if asked.seed is not None else secrets.randbelow(1_000_000)
    holds = True
    for database in asked.database or DATABASES:
        for seed in range(first, first + asked.seeds):
            console.rule(f"seed {seed}, ledger on {database}")
            taken = _hammer_once(database, seed, asked, console)
            holds = holds and taken.holds
            console.print(f"{database}: {taken.told()}", highlight=False, markup=False)
    console.print("All holds." if holds else "IT DOES NOT HOLD.")
    return 0 if holds else 1


def _hammer_once(database: str, seed: int, asked: argparse.Namespace, console: Console) -> Taken:
    # Not a private folder: PostgreSQL does not run as root, and must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix=f"ittybatch-intake-{seed}-"))
    folder.chmod(0o755)

    def tell(line: str) -> None:
        console.print(f"  {line}", highlight=False, markup=False)

    with (
        alone(folder, database, {"ITTYBATCH_LEASE_S": "10"}),
        LocalStack(folder / "home", instant=True, seed=seed, on_event=tell) as stack,
    ):
        system = System(stack)
        try:
            taken = hammer(
                system,
                seed=seed,
                kills=asked.kills,
                pause_s=asked.pause,
                second=database == "postgres",
                within_s=600,
                tell=tell,
            )
            trying(lambda: close(system, taken.verdicts))
        finally:
            system.close()
    if taken.holds:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        tell(f"Kept: {folder}")
    return taken


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.intake", description=main.__doc__)
    parser.add_argument("--seed", type=int, help="of the first soak; a random one if not given")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds in a row (1)")
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs (20)")
    parser.add_argument(
        "--pause", type=float, default=0.5, help="a client's longest pause in seconds (0.5)"
    )
    parser.add_argument("--database", action="append", choices=DATABASES, help="only this one")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
