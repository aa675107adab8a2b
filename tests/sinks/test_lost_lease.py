"""A receiver that was paused in the middle of a delivery: the last word about a job stays last."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import func, select

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.ledger.models import Outbox
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.sinks import SinkStatus, sink_statuses
from ittybatch.sinks import channel
from ittybatch.sinks.base import Outcome, Result, SinkUnavailable
from ittybatch.sinks.channel import Channel, OpenSink
from tests.ledger import library
from tests.sinks.scene import Counts, Recorder, declare, everything, submitted, wait_until


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease ends soon."""
    monkeypatch.setattr(channel, "LEASE_S", 0.4)
    monkeypatch.setattr(channel, "RENEW_S", 0.1)
    monkeypatch.setattr(channel, "_FIRST_WAIT_S", 0.02)


def keep_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that are taken from now on outlast the test, however slow the machine is."""
    monkeypatch.setattr(channel, "LEASE_S", 30.0)


@dataclass
class Paused(Recorder):
    """A sink whose process stops before it writes, or after, until the test lets it go on."""

    before: threading.Event | None = None
    after: threading.Event | None = None
    then_fails: bool = False
    wrote: threading.Event = field(default_factory=threading.Event)

    def deliver(self, results: Sequence[Result]) -> Sequence[Outcome]:
        if self.before is not None:
            self.tried += 1
            self.before.wait(30)
        outcomes = super().deliver(results)
        self.wrote.set()
        if self.after is not None:
            self.after.wait(30)
        if self.then_fails:
            raise SinkUnavailable("Connection reset.")
        return outcomes

    def go_on(self) -> None:
        for each in (self.before, self.after):
            if each is not None:
                each.set()


@contextmanager
def receiver(ledger: Ledger, sink: Recorder, owner: str) -> Iterator[Counts]:
    """A receiver's channel, woken all the time. Nothing renews its lease, as in a paused one."""
    counts = Counts()
    running = Channel(ledger, OpenSink(sink, everything), owner, counts)
    ended = threading.Event()

    def wake() -> None:
        while not ended.wait(0.02):
            running.wake(now=True)

    waker = threading.Thread(target=wake)
    running.start()
    waker.start()
    try:
        yield counts
    finally:
        if isinstance(sink, Paused):
            sink.go_on()
        ended.set()
        waker.join()
        running.stop()
        assert running.join(10)


def _status(ledger: Ledger) -> SinkStatus:
    [status] = ledger.read(sink_statuses)
    return status


def _end(ledger: Ledger) -> None:
    ledger.write(settle, [library.remote("task-0")])


@pytest.mark.parametrize("then_fails", [False, True])
def test_a_late_write_is_followed_by_the_last_word(
    ledger: Ledger, then_fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first receiver writes `processing` after the second one has delivered the end."""
    table: list[Result] = []
    resumed = threading.Event()
    late = Paused(got=table, before=resumed, then_fails=then_fails)
    declare(ledger, "table", on_accepted=True)
    submitted(ledger, 1)
    with receiver(ledger, late, "a"):
        wait_until(lambda: late.tried)
        _end(ledger)
        keep_leases(monkeypatch)
        with receiver(ledger, Recorder(got=table), "b"):
            wait_until(lambda: _status(ledger).pending == 0)
            assert [each.status for each in table] == ["processing", "succeeded"]
            resumed.set()
            wait_until(lambda: len(table) == 4)
            wait_until(lambda: _status(ledger).pending == 0)
    assert [each.status for each in table[2:]] == ["processing", "succeeded"]
    assert _status(ledger).failures == 0, "the receiver without the lease does not speak for it"


def test_a_late_write_during_the_other_receivers_delivery(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second receiver has written the end, and has not marked it yet."""
    table: list[Result] = []
    resumed, marked = threading.Event(), threading.Event()
    late, holder = Paused(got=table, before=resumed), Paused(got=table, after=marked)
    declare(ledger, "table", on_accepted=True)
    submitted(ledger, 1)
    with receiver(ledger, late, "a") as counts:
        wait_until(lambda: late.tried)
        _end(ledger)
        keep_leases(monkeypatch)
        with receiver(ledger, holder, "b"):
            wait_until(holder.wrote.is_set)
            resumed.set()
            wait_until(late.wrote.is_set)
            wait_until(lambda: _most_tries(ledger) == 1)
            marked.set()
            wait_until(lambda: _status(ledger).pending == 0)
    assert [each.status for each in table[:3]] == ["processing", "succeeded", "processing"]
    assert table[-1].status == "succeeded"
    assert counts.delivered_["table"] == 0


def test_what_was_written_without_a_lease_is_delivered_by_its_holder(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder may be about to write an older event of what the other one would mark."""
    table: list[Result] = []
    late = Paused(got=table, after=threading.Event())
    assert late.after is not None
    declare(ledger, "table", on_accepted=True)
    submitted(ledger, 1)
    _end(ledger)
    with receiver(ledger, late, "a") as counts:
        wait_until(late.wrote.is_set)
        keep_leases(monkeypatch)
        holder = Paused(got=table, before=threading.Event())
        assert holder.before is not None
        with receiver(ledger, holder, "b"):
            wait_until(lambda: holder.tried)
            late.after.set()
            wait_until(lambda: _most_tries(ledger) == 1)
            assert _status(ledger).pending == 2
            holder.before.set()
            wait_until(lambda: _status(ledger).pending == 0)
    assert table[-1].status == "succeeded"
    assert counts.delivered_["table"] == 0


def test_a_late_write_before_an_outage_of_the_ledger_is_not_forgotten(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is looked at before the next one is taken, which would hide the loss."""
    monkeypatch.setattr(channel, "_LEDGER_WAIT_S", 0.05)
    table: list[Result] = []
    resumed = threading.Event()
    late = Paused(got=table, before=resumed)
    declare(ledger, "table", on_accepted=True)
    submitted(ledger, 1)
    with receiver(Interrupted(ledger, late), late, "a"):  # type: ignore[arg-type]
        wait_until(lambda: late.tried)
        _end(ledger)
        with receiver(ledger, Recorder(got=table), "b"):
            wait_until(lambda: _status(ledger).pending == 0)
        resumed.set()
        wait_until(lambda: len(table) >= 4)
        wait_until(lambda: _status(ledger).pending == 0)
    assert table[-1].status == "succeeded"


class Interrupted:
    """A ledger that cannot be written for the first three times after the sink has written."""

    def __init__(self, ledger: Ledger, sink: Paused) -> None:
        self._ledger = ledger
        self._sink = sink
        self._left = 3
        self.read = ledger.read

    def write(self, *given: object, **named: object) -> object:
        if self._sink.wrote.is_set() and self._left:
            self._left -= 1
            raise LedgerUnavailable("The ledger does not answer.")
        write: Callable[..., object] = self._ledger.write
        return write(*given, **named)


def _most_tries(ledger: Ledger) -> int:
    return int(ledger.read(lambda tx: tx.execute(select(func.max(Outbox.tries))).scalar_one()))
