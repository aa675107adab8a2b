"""Waking: from the commit of a chunk's last webhook to the beginning of its next leg.

On a whole system, with everything well and nothing else to do. Beside it, what it takes to
start a Python process that imports the flow, which is most of it.
"""

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median, quantiles

from sqlalchemy import select

from bench.databases import NewLedger
from bench.figure import Figure
from bench.whole import whole_system
from ittybatch.ledger import Transaction
from ittybatch.ledger.models import Delivery, Run
from ittybatch.settings import CHECKOUT
from tests.end_to_end.sleepers import (
    Sleeper,
    put_to_sleep,
    tell,
    until_quiet,
    write_pictures,
)
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until
from tests.soak.run import reconciling

TRIES_A_ROUND = 4
_IMPORT = "import prefect.flow_engine, ittybatch.flows.process_chunk"
_FIRST_LEG = 1
_WITHIN_S = 60.0
_A_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Wake:
    """One try: the parts of the way, in milliseconds, in their order.

    Args:
        called_ms: Until Prefect has resumed the run: the waker's and the automation's part.
        taken_ms: Until the worker has taken it.
        started_ms: Until its process says that it runs.
        begun_ms: Until its leg has begun in the ledger.
    """

    called_ms: float
    taken_ms: float
    started_ms: float
    begun_ms: float

    @property
    def whole_ms(self) -> float:
        """All of the way."""
        return self.called_ms + self.taken_ms + self.started_ms + self.begun_ms


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Wake one chunk after the other, four a round."""
    tries = TRIES_A_ROUND * rounds
    wakes: list[Wake] = []
    starts_ms: list[float] = []
    chance = random.Random(1)
    with whole_system(new_ledger()) as system, reconciling(system, _A_DAY_S):
        source = write_pictures(system.stack.home / "manifest.csv", tries, prefix="wake")
        sleeping = put_to_sleep(system, source, tries)
        for sleeper in sleeping.chunks:
            starts_ms.append(_start_ms())
            # Anywhere between two looks of the waker and two polls of the worker.
            time.sleep(chance.random())
            wakes.append(_wake(system, sleeper))
            until_quiet(system, sleeping.batch)
    return list(_figures(database, wakes, starts_ms))


def _wake(system: System, sleeper: Sleeper) -> Wake:
    tell(system, [sleeper])
    began = until(
        lambda: system.ledger.read(_second_leg, sleeper.owner),
        f"{sleeper.owner} is awake",
        within_s=_WITHIN_S,
    )
    kept = system.ledger.read(_kept, sleeper.task_id)
    moments = {name: at for at, name in system.prefect.moments(sleeper.flow_run) if at > kept}
    stations = [kept, moments["Resuming"], moments["Pending"], moments["Running"], began]
    return Wake(*((after - before).total_seconds() * 1000 for before, after in pairwise(stations)))


def _second_leg(transaction: Transaction, owner: str) -> datetime | None:
    row = transaction.execute(select(Run.leg, Run.since).where(Run.owner == owner)).one()
    return row.since if row.leg > _FIRST_LEG else None


def _kept(transaction: Transaction, task: str) -> datetime:
    received: datetime = transaction.execute(
        select(Delivery.received_at).where(Delivery.task_id == task)
    ).scalar_one()
    return received


def _start_ms() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", _IMPORT], check=True, cwd=CHECKOUT)
    return (time.perf_counter() - began) * 1000


def _figures(database: str, wakes: Sequence[Wake], starts_ms: Sequence[float]) -> list[Figure]:
    whole = [wake.whole_ms for wake in wakes]
    parts = {
        "until Prefect resumes it": [wake.called_ms for wake in wakes],
        "until the worker takes it": [wake.taken_ms for wake in wakes],
        "until its process runs": [wake.started_ms for wake in wakes],
        "until its leg begins": [wake.begun_ms for wake in wakes],
    }

    def figure(what: str, ours_ms: float, target: str) -> Figure:
        of = f"{what} of {len(wakes)} wakes on {database}"
        start = "starting a process that imports the flow"
        return Figure("wake", of, "ms", [ours_ms], start, [median(starts_ms)], target)

    return [
        figure("shortest", min(whole), ""),
        figure("median", median(whole), "under 5,000 ms"),
        figure("9th decile", quantiles(whole, n=10, method="inclusive")[-1], ""),
        figure("longest", max(whole), "under 15,000 ms"),
        *(figure(f"median {name}", median(part), "") for name, part in parts.items()),
    ]
