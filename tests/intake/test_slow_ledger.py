"""A ledger that is slower than callers wait: they are told the truth about their requests."""

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import event

from ittybatch.intake import intake as intakes
from ittybatch.intake.intake import Intake, LedgerUnavailable, MayBeTaken, Taken, Wanted
from ittybatch.ledger import Ledger, Transaction
from ittybatch.settings import Settings
from tests.intake import harness
from tests.intake.harness import by_kind
from tests.receiver.harness import wait_until
from tests.sandbox.harness import Running

PATIENCE_S = 0.3


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers are told after a third of a second, not after four."""
    monkeypatch.setattr(intakes, "_MAX_COMMIT_S", PATIENCE_S)


@contextlib.contextmanager
def planning(ledger: Ledger) -> Iterator[threading.Event]:
    """Another process plans, and holds its lock until the event is set."""
    held, release = threading.Event(), threading.Event()

    def hold(transaction: Transaction) -> None:
        transaction.serialise("planning")
        held.set()
        assert release.wait(20)

    other = threading.Thread(target=ledger.write, args=(hold,))
    other.start()
    assert held.wait(20)
    try:
        yield release
    finally:
        release.set()
        other.join(20)


async def _taken_at_last(intake: Intake, wanted: Wanted) -> Taken:
    """As a caller who repeats: while an earlier commit lasts, nothing else is taken."""
    while True:
        with contextlib.suppress(LedgerUnavailable):
            return await intake.take(wanted, answer_within_s=10)


def test_what_was_called_not_taken_is_not_taken_later(
    ledger: Ledger, settings: Settings, sandbox: Running
) -> None:
    """Not when the lock is free again, either: the caller may have gone elsewhere."""

    async def work(intake: Intake) -> Taken:
        with planning(ledger):
            with pytest.raises(LedgerUnavailable, match="was not taken") as refused:
                await intake.take(by_kind("a.mov", again=True))
            assert not isinstance(refused.value, MayBeTaken)
        return await _taken_at_last(intake, by_kind("b.mov"))

    taken = harness.run(ledger, settings, work)
    assert taken.jobs[0].task_id
    assert [job["input"] for job in harness.sandbox_jobs(sandbox)] == ["https://example.com/b.mov"]
    assert len(harness.jobs(ledger)) == 1


def test_a_commit_that_has_begun_may_succeed_and_is_called_open(
    ledger: Ledger, settings: Settings, sandbox: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repeat with the same key finds the job, although it asks for it again."""
    # All before the commit has to fit, on a busy machine too.
    patience_s = 2.0
    monkeypatch.setattr(intakes, "_MAX_COMMIT_S", patience_s)
    slow = threading.Event()

    @event.listens_for(ledger.engine, "commit")
    def commit(_connection: object) -> None:
        if slow.is_set():
            slow.clear()
            time.sleep(2 * patience_s)

    async def work(intake: Intake) -> Taken:
        order = by_kind("a.mov", again=True, idempotency_key="order-7", body_digest="1")
        slow.set()
        with pytest.raises(MayBeTaken, match="has not said in time"):
            await intake.take(order)
        return await _taken_at_last(intake, order)

    taken = harness.run(ledger, settings, work)
    wait_until(lambda: len(harness.sandbox_jobs(sandbox)) == 1)
    assert [job.id for job in harness.jobs(ledger)] == [int(taken.jobs[0].job_id)]
