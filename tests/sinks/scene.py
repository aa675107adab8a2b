"""Sinks for tests: they keep what they get, and fail when they are told to."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ittybatch.ledger import Ledger
from ittybatch.ledger.sinks import DeclaredSink, sync_sinks
from ittybatch.sinks.base import Outcome, Result, SinkUnavailable
from ittybatch.sinks.channel import OpenSink
from ittybatch.sinks.deliverer import Deliverer
from tests.ledger import library

SECRET = "password=hunter2"


def wait_until(met: Callable[[], object], *, within_s: float = 20) -> None:
    """Look again and again until it is so, and fail when it never is."""
    deadline = time.monotonic() + within_s
    while not met():
        assert time.monotonic() < deadline, f"not so within {within_s} s: {met}"
        time.sleep(0.01)


@dataclass
class Recorder:
    """A sink that remembers every result, and fails as the test says."""

    name: str = "table"
    wants_raw: bool = False
    down: bool = False
    fails_on: Callable[[Result], str | None] = lambda _: None
    breaks_on: Callable[[Result], bool] = lambda _: False
    skips: Callable[[Result], bool] = lambda _: False
    slow: threading.Event | None = None
    got: list[Result] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    tried: int = 0

    def deliver(self, results: Sequence[Result]) -> Sequence[Outcome]:
        self.tried += 1
        if self.down:
            raise SinkUnavailable("Connection refused.")
        if any(map(self.breaks_on, results)):
            raise ZeroDivisionError(SECRET)
        if self.slow is not None:
            self.slow.wait(30)
        self.groups.append(len(results))
        taken = [each for each in results if not self.skips(each)]
        self.got += taken
        return [Outcome(each.outbox_id, self.fails_on(each)) for each in taken]

    def check(self) -> str | None:
        return None

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Counts:
    """What an observer has counted, by sink."""

    delivered_: Counter[str] = field(default_factory=Counter)
    refused_: Counter[str] = field(default_factory=Counter)
    unavailable_: Counter[str] = field(default_factory=Counter)

    def delivered(self, sink: str, results: int) -> None:
        self.delivered_[sink] += results

    def refused(self, sink: str, results: int) -> None:
        self.refused_[sink] += results

    def unavailable(self, sink: str) -> None:
        self.unavailable_[sink] += 1


def everything(_result: Result) -> bool:
    """A sink that wants every result."""
    return True


@contextmanager
def delivering(
    ledger: Ledger,
    *recorders: Recorder,
    on_accepted: bool = False,
    wants: Callable[[Result], bool] = everything,
    counts: Counts | None = None,
    poll_s: float = 0.05,
) -> Iterator[Deliverer]:
    """A deliverer that runs until the block ends."""
    declared = [DeclaredSink(each.name, "sql", on_accepted) for each in recorders]
    opened = [OpenSink(each, wants) for each in recorders]
    deliverer = Deliverer(ledger, declared, opened, counts or Counts(), poll_s=poll_s)
    deliverer.start()
    try:
        yield deliverer
    finally:
        deliverer.stop()


def declare(ledger: Ledger, *names: str, on_accepted: bool = False) -> None:
    """Make sinks known to the ledger before anything ends."""
    ledger.write(sync_sinks, [DeclaredSink(name, "sql", on_accepted) for name in names])


def submitted(ledger: Ledger, count: int, *, first: int = 0) -> list[str]:
    """Jobs that Ittybit has accepted.

    Returns:
        Their ids at Ittybit.
    """
    jobs = [library.job(f"{number}.mov") for number in range(first, first + count)]
    _, submissions = library.submitted(ledger, *jobs)
    return [f"task-{number}" for number in range(len(submissions))]
