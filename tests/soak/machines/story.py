"""What happens to an installation of several machines, and how long it takes to heal."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from ittybatch.ledger.sweep import find_broken
from tests.end_to_end.system import System
from tests.soak.begin import trying
from tests.soak.machines.cluster import LEASE_S, MACHINES, RECEIVERS, WORKERS, Cluster
from tests.soak.machines.network import Network

# Jobs that have to end after a fault before it counts as healed: one might have been on its way.
_HEALED_BY = 5
_HEALS_WITHIN_S = 300.0
_LOOK_EVERY_S = 0.5


class What(StrEnum):
    """What can happen."""

    CUT = "link cut"
    LOST = "machine lost"
    ROLLED = "version rolled over"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens.

    Args:
        what: What happens.
        machine: To which machine; to all receivers and workers if empty.
    """

    what: What
    machine: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.machine}" if self.machine else str(self.what)


def random_events(seed: int) -> list[Event]:
    """Every link is cut, machines are lost, a version is rolled over: in an order of the seed."""
    events = [Event(What.CUT, name) for name in MACHINES]
    events += [Event(What.LOST, name) for name in (*RECEIVERS, *WORKERS, "prefect", "postgres")]
    events.append(Event(What.ROLLED))
    random.Random(seed).shuffle(events)
    return events


def unfold(
    events: list[Event],
    cluster: Cluster,
    network: Network,
    system: System,
    batch: str,
    *,
    for_s: float,
    tell: Callable[[str], None],
) -> Iterator[tuple[Event, float | None]]:
    """Let the events happen, one after the other.

    Args:
        events: In their order.
        cluster: The installation.
        network: Its machines.
        system: Asks ledger and Prefect.
        batch: A batch under way, whose jobs show whether work goes on.
        for_s: Seconds that a link is cut or a machine is away.
        tell: Told of each event.

    Yields:
        Each event, with the seconds until work went on after it; None if it did not in time.
    """
    for event in events:
        tell(str(event))
        match event.what:
            case What.CUT:
                network.cut(event.machine)
                time.sleep(for_s)
                network.mend(event.machine)
            case What.LOST:
                network.cut(event.machine)
                network.lose(event.machine)
                time.sleep(for_s)
                network.mend(event.machine)
            case What.ROLLED:
                cluster.roll()
        took_s = _healed_after(system, batch)
        tell(f"  work goes on after {took_s:.1f} s" if took_s is not None else "  NOT HEALED")
        yield event, took_s


def _healed_after(system: System, batch: str) -> float | None:
    """Seconds until jobs end again and nobody's owner is broken."""
    began = time.monotonic()
    first: int | None = None
    while (now := time.monotonic() - began) < _HEALS_WITHIN_S:
        status = trying(lambda: system.status(batch))
        if status is not None:
            if status.state.ended:
                return now
            ended = sum(status.counts[name] for name in ("succeeded", "failed", "expired"))
            first = ended if first is None else first
            broken = trying(lambda: system.ledger.read(find_broken, LEASE_S))
            if ended >= first + _HEALED_BY and broken is not None and not broken:
                return now
        time.sleep(_LOOK_EVERY_S)
    return None
