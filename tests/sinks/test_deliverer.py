"""Delivering: what waits in the outbox reaches every sink, in order, whatever fails."""

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import update

from ittybatch.ittybit.job import JobStatus
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.models import Attempt
from ittybatch.ledger.pending import retry_refused
from ittybatch.ledger.settlement import expire, settle
from ittybatch.ledger.sinks import SinkStatus, sink_statuses
from ittybatch.sinks import channel
from ittybatch.sinks.base import Result
from tests.ledger import library
from tests.ledger.test_outbox import pass_deadlines
from tests.sinks.scene import Counts, Recorder, declare, delivering, submitted, wait_until


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test does not wait as long as an operator does."""
    monkeypatch.setattr(channel, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(channel, "_POSTPONED_S", 0.1)


def _status(ledger: Ledger) -> SinkStatus:
    [status] = ledger.read(sink_statuses)
    return status


def test_a_job_that_ended_reaches_the_sink(ledger: Ledger) -> None:
    """With all that is known of it."""
    sink, counts = Recorder(), Counts()
    with delivering(ledger, sink, counts=counts):
        wait_until(lambda: ledger.read(sink_statuses))
        submitted(ledger, 1)
        ledger.write(settle, [library.remote("task-0")])
        wait_until(lambda: _status(ledger).last_delivered_at)
    [result] = sink.got
    assert (result.event, result.status, result.task_id) == ("ended", "succeeded", "task-0")
    assert (result.bucket, result.key) == ("media", "0.mov")
    assert result.output_url == "https://cdn.test/out.mp4"
    assert (result.width, result.height, result.duration_s) == (854, 480, 12.5)
    assert result.metadata == {"show": "pilot"}
    assert (result.profile, result.attempts, result.requested) == ("test", 1, False)
    assert result.completed_at is not None
    assert result.completed_at.tzinfo is not None
    assert counts.delivered_["table"] == 1
    assert _status(ledger).pending == 0


def test_a_failure_carries_its_reason(ledger: Ledger) -> None:
    """And no output."""
    sink = Recorder()
    declare(ledger, "table")
    submitted(ledger, 1)
    ledger.write(settle, [library.failed("task-0", "invalid_input", "could not decode")])
    with delivering(ledger, sink):
        wait_until(lambda: sink.got)
    [result] = sink.got
    assert (result.status, result.error_kind) == ("failed", "invalid_input")
    assert (result.error, result.output_url) == ("could not decode", None)


def test_ittybits_own_form_comes_with_the_result_where_it_is_wanted(ledger: Ledger) -> None:
    """From a poll's answer as from a webhook's body."""
    sink = Recorder(wants_raw=True)
    declare(ledger, "table")
    submitted(ledger, 1)
    ledger.write(settle, [library.remote("task-0")])
    with delivering(ledger, sink):
        wait_until(lambda: sink.got)
    assert sink.got[0].raw == {"id": "task-0", "status": "succeeded"}


def test_an_acceptance_comes_before_the_end_also_after_an_outage(ledger: Ledger) -> None:
    """A row that is ready must not become one that is processing."""
    sink = Recorder()
    declare(ledger, "table", on_accepted=True)
    tasks = submitted(ledger, 20)
    ledger.write(settle, [library.remote(task) for task in tasks])
    with delivering(ledger, sink, on_accepted=True):
        wait_until(lambda: len(sink.got) == 40)
    for job in {each.job_id for each in sink.got}:
        events = [each for each in sink.got if each.job_id == job]
        assert [each.status for each in events] == ["processing", "succeeded"]
        assert events[0].output_url is None
        assert events[0].completed_at is None


def test_a_sink_that_is_down_gets_everything_later(ledger: Ledger) -> None:
    """Once; and the ledger says meanwhile what is wrong."""
    sink, counts = Recorder(down=True), Counts()
    declare(ledger, "table")
    with delivering(ledger, sink, counts=counts):
        tasks = submitted(ledger, 100)
        ledger.write(settle, [library.remote(task) for task in tasks])
        wait_until(lambda: counts.unavailable_["table"] > 3)
        status = _status(ledger)
        assert (status.pending, status.last_error) == (100, "Connection refused.")
        assert status.failures > 0
        assert status.oldest_pending_at is not None
        sink.down = False
        wait_until(lambda: _status(ledger).pending == 0)
    assert len(sink.got) == len({each.outbox_id for each in sink.got}) == 100
    assert _status(ledger).failures == 0


def test_after_an_outage_the_oldest_results_do_not_wait_for_the_backlogs_end(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt has tried another group meanwhile; one that is taken ends that."""
    monkeypatch.setattr(channel, "GROUP", 5)
    sink, counts = Recorder(down=True), Counts()
    declare(ledger, "table")
    tasks = submitted(ledger, 40)
    ledger.write(settle, [library.remote(task) for task in tasks])
    with delivering(ledger, sink, counts=counts):
        wait_until(lambda: counts.unavailable_["table"] > 2)
        sink.down = False
        wait_until(lambda: len(sink.got) == 40)
    given = [each.outbox_id for each in sink.got]
    assert min(given) in given[:10]
    assert len(set(given)) == 40


def test_a_sink_that_is_down_is_not_asked_at_each_commit(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its backoff holds however often the receiver is woken."""
    monkeypatch.setattr(channel, "_FIRST_WAIT_S", 30.0)
    sink = Recorder(down=True)
    declare(ledger, "table")
    submitted(ledger, 1)
    ledger.write(settle, [library.remote("task-0")])
    with delivering(ledger, sink) as deliverer:
        wait_until(lambda: sink.tried == 1)
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            deliverer.wake()
            time.sleep(0.01)
    assert sink.tried == 1


def test_what_is_refused_for_good_is_kept_and_the_rest_goes_on(ledger: Ledger) -> None:
    """`sinks retry` sends it again after the table has been corrected."""
    sink, counts = Recorder(), Counts()
    sink.fails_on = lambda result: "no such row" if result.key == "1.mov" else None
    declare(ledger, "table")
    with delivering(ledger, sink, counts=counts):
        tasks = submitted(ledger, 3)
        ledger.write(settle, [library.remote(task) for task in tasks])
        wait_until(lambda: _status(ledger).pending == 0)
        status = _status(ledger)
        assert (status.refused, status.last_error) == (1, "no such row")
        assert (counts.delivered_["table"], counts.refused_["table"]) == (2, 1)
        sink.fails_on = lambda _: None
        assert retry_refused(ledger, "table") == 1
        wait_until(lambda: (_status(ledger).pending, _status(ledger).refused) == (0, 0))
    assert [each.key for each in sink.got].count("1.mov") == 2


def test_one_result_that_breaks_the_sink_does_not_hold_up_the_others(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """It is kept as refused; an unknown error's message, which may hold a secret, is not shown."""
    sink = Recorder(breaks_on=lambda result: result.key == "1.mov")
    declare(ledger, "table")
    with delivering(ledger, sink):
        tasks = submitted(ledger, 3)
        ledger.write(settle, [library.remote(task) for task in tasks])
        wait_until(lambda: _status(ledger).refused == 1)
    assert sorted(each.key for each in sink.got) == ["0.mov", "2.mov"]
    assert "ZeroDivisionError" in str(_status(ledger).last_error)
    assert "hunter2" not in str(_status(ledger).last_error) + caplog.text


def test_an_unknown_error_of_every_result_counts_as_an_outage(ledger: Ledger) -> None:
    """Refusing all of them would leave a person to sort them out."""
    sink = Recorder(breaks_on=lambda _: True)
    declare(ledger, "table")
    with delivering(ledger, sink):
        tasks = submitted(ledger, 3)
        ledger.write(settle, [library.remote(task) for task in tasks])
        wait_until(lambda: _status(ledger).failures > 2)
        assert (_status(ledger).pending, _status(ledger).refused) == (3, 0)
        sink.breaks_on = lambda _: False
        wait_until(lambda: _status(ledger).pending == 0)
    assert len(sink.got) == 3


def test_a_result_without_an_answer_waits_and_holds_up_only_its_job(ledger: Ledger) -> None:
    """A row of the user's table may not be there yet."""
    sink = Recorder(skips=lambda result: result.key == "0.mov" and result.event == "accepted")
    declare(ledger, "table", on_accepted=True)
    tasks = submitted(ledger, 2)
    ledger.write(settle, [library.remote(task) for task in tasks])
    with delivering(ledger, sink, on_accepted=True):
        wait_until(lambda: len([each for each in sink.got if each.key == "1.mov"]) == 2)
        wait_until(lambda: sink.tried > 2)
        assert _status(ledger).pending == 2
        sink.skips = lambda _: False
        wait_until(lambda: _status(ledger).pending == 0)
    first = [each.status for each in sink.got if each.key == "0.mov"]
    assert first[-2:] == ["processing", "succeeded"]


def test_a_sink_gets_only_what_it_wants(ledger: Ledger) -> None:
    """The rest counts as delivered."""
    sink = Recorder()
    declare(ledger, "table")
    tasks = submitted(ledger, 4)
    ledger.write(settle, [library.remote(task) for task in tasks])

    def wants(result: Result) -> bool:
        return result.key in {"1.mov", "3.mov"}

    with delivering(ledger, sink, wants=wants):
        wait_until(lambda: _status(ledger).pending == 0)
    assert [each.key for each in sink.got] == ["1.mov", "3.mov"]


def test_a_slow_sink_delays_no_other(ledger: Ledger) -> None:
    """Each has a thread of its own."""
    slow, quick = Recorder("slow", slow=threading.Event()), Recorder("quick")
    declare(ledger, "slow", "quick")
    submitted(ledger, 1)
    ledger.write(settle, [library.remote("task-0")])
    with delivering(ledger, slow, quick):
        wait_until(lambda: quick.got)
        assert slow.got == []
        assert slow.slow is not None
        slow.slow.set()
        wait_until(lambda: slow.got)


def test_groups_are_bounded(ledger: Ledger) -> None:
    """A backlog of any length takes no more memory than one group."""
    sink = Recorder()
    declare(ledger, "table")
    for first in range(0, 1100, 100):
        tasks = submitted(ledger, 100, first=first)
        ledger.write(settle, [library.remote(task) for task in tasks])
        ledger.write(_forget_tasks)
    with delivering(ledger, sink):
        wait_until(lambda: _status(ledger).pending == 0)
    assert sink.groups == [500, 500, 100]
    assert [each.outbox_id for each in sink.got] == sorted(each.outbox_id for each in sink.got)


def test_two_receivers_share_the_work_and_deliver_nothing_twice(ledger: Ledger) -> None:
    """One at a time, and the other when the first has stopped."""
    one, two = Recorder(), Recorder()
    declare(ledger, "table")
    with delivering(ledger, one) as first, delivering(ledger, two):
        for start in range(0, 200, 20):
            tasks = submitted(ledger, 20, first=start)
            ledger.write(settle, [library.remote(task) for task in tasks])
            ledger.write(_forget_tasks)
        wait_until(lambda: len(one.got) + len(two.got) >= 200)
        before = time.monotonic()
        first.stop()
        assert time.monotonic() - before < 2
        tasks = submitted(ledger, 20, first=200)
        ledger.write(settle, [library.remote(task) for task in tasks])
        wait_until(lambda: _status(ledger).pending == 0, within_s=5)
    ids = [each.outbox_id for each in (*one.got, *two.got)]
    assert len(ids) == len(set(ids)) == 220


def test_a_slow_group_keeps_its_lease(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another receiver does not deliver the same results meanwhile."""
    monkeypatch.setattr(channel, "RENEW_S", 0.2)
    monkeypatch.setattr(channel, "LEASE_S", 1.0)
    monkeypatch.setattr("ittybatch.sinks.deliverer.LEASE_S", 1.0)
    slow, other = Recorder(slow=threading.Event()), Recorder()
    declare(ledger, "table")
    submitted(ledger, 1)
    ledger.write(settle, [library.remote("task-0")])
    with delivering(ledger, slow):
        wait_until(lambda: slow.tried)
        with delivering(ledger, other):
            time.sleep(2.5)
            assert other.tried == 0
            assert slow.slow is not None
            slow.slow.set()
            wait_until(lambda: _status(ledger).pending == 0)
    assert len(slow.got) == 1


def _let_one_expire(ledger: Ledger) -> None:
    [sent] = library.submitted(ledger, library.job("a.mov"))[1]
    pass_deadlines(ledger)
    ledger.write(expire, sent.job_id)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda ledger: ledger.write(settle, [library.remote("task-0", JobStatus.CANCELLED)]),
         "cancelled"),
        (lambda ledger: ledger.write(settle, [library.failed("task-0", "invalid_input")]),
         "failed"),
    ],
)  # fmt: skip
def test_every_end_has_its_status(
    ledger: Ledger, end: Callable[[Ledger], object], status: str
) -> None:
    """As the sink's templates name it."""
    sink = Recorder()
    declare(ledger, "table")
    library.submitted(ledger, library.job("a.mov", attempts=1))
    end(ledger)
    with delivering(ledger, sink):
        wait_until(lambda: sink.got)
    assert [each.status for each in sink.got] == [status]


def test_a_late_success_corrects_the_expiry(ledger: Ledger) -> None:
    """The sink has been told of the expiry, and is told again."""
    sink = Recorder()
    declare(ledger, "table")
    with delivering(ledger, sink):
        _let_one_expire(ledger)
        wait_until(lambda: sink.got)
        ledger.write(settle, [library.remote("task-0")])
        wait_until(lambda: len(sink.got) == 2)
    assert [each.status for each in sink.got] == ["expired", "succeeded"]


def test_without_sinks_nothing_runs(ledger: Ledger) -> None:
    """Those that the ledger still has become inactive."""
    declare(ledger, "table")
    with delivering(ledger):
        wait_until(lambda: not _status(ledger).active)
    names = {thread.name for thread in threading.enumerate()}
    assert not any(name.startswith("sink-") for name in names)


def _forget_tasks(transaction: Transaction) -> None:
    """Free the ids `task-0`, ... for the next jobs of a test."""
    transaction.execute(update(Attempt).values(task_id=None))
