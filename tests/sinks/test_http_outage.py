"""From the ledger to the user's own address, while it is deployed or has another secret."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ittybatch.engine.finding import Grade
from ittybatch.ledger import Ledger
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.sinks import SinkStatus, sink_statuses, sync_sinks
from ittybatch.receiver.sink_metrics import SinkMetrics
from ittybatch.settings import Settings
from ittybatch.sinks import channel
from ittybatch.sinks.base import SinkUnavailable
from ittybatch.sinks.checking import check_sinks
from ittybatch.sinks.declared import for_ledger, open_sinks, read_sinks
from ittybatch.sinks.deliverer import Deliverer
from tests.ledger import library
from tests.sinks.conftest import OpenHttp
from tests.sinks.results import errors, succeeded
from tests.sinks.scene import submitted, wait_until
from tests.sinks.server import Address, Answer

RESULTS = "sinks: [{name: app, kind: http, url: '${RESULTS_URL}', secret: '${RESULTS_SECRET}'}]"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that declares the sink; a test waits less long than a receiver."""
    monkeypatch.setattr(channel, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(channel, "_POSTPONED_S", 0.02)
    declared = tmp_path / "results.yaml"
    declared.write_text(RESULTS)
    return declared


@contextmanager
def delivering(ledger: Ledger, file: Path, registry: CollectorRegistry) -> Iterator[None]:
    """A deliverer for the sinks of a file."""
    sinks = read_sinks(file)
    ledger.write(sync_sinks, for_ledger(sinks))
    deliverer = Deliverer(
        ledger, for_ledger(sinks), open_sinks(sinks), SinkMetrics(registry), poll_s=0.02
    )
    deliverer.start()
    try:
        yield
    finally:
        deliverer.stop()


def _status(ledger: Ledger) -> SinkStatus:
    [status] = ledger.read(sink_statuses)
    return status


def _posted(address: Address, task: str) -> bool:
    return any(request.json["id"] == task for request in address.requests)


@pytest.mark.parametrize("answer", [Answer(404, body=b"no such app"), Answer(401)])
def test_an_address_that_answers_4xx_for_hours_catches_up(
    answer: Answer, address: Address, ledger: Ledger, ledger_url: str, file: Path
) -> None:
    """Nothing is refused, so that nobody has to run `sinks retry`; `doctor` has the status."""
    registry = CollectorRegistry()
    address.answer = lambda _: answer
    with delivering(ledger, file, registry):
        tasks = submitted(ledger, 60)
        ledger.write(settle, [library.remote(task) for task in tasks])
        wait_until(lambda: _status(ledger).failures > 2)
        status = _status(ledger)
        assert (status.pending, status.refused) == (60, 0)
        assert f"HTTP {answer.status}" in str(status.last_error)
        assert "check the sink's url and secret" in str(status.last_error)
        settings = Settings(database_url=ledger_url, results_file=file, home=file.parent)
        [finding] = check_sinks(settings)
        assert finding.grade is Grade.BROKEN
        assert finding.what.count(f"HTTP {answer.status}") == 2, "from here, and from the receiver"
        assert registry.get_sample_value("ittybatch_sink_failures_total", {"sink": "app"})
        address.answer = lambda _: Answer()
        wait_until(lambda: _status(ledger).pending == 0)
    assert (_status(ledger).refused, _status(ledger).failures) == (0, 0)


def test_a_result_that_the_app_does_not_know_holds_nothing_up(
    address: Address, ledger: Ledger, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app answers 404 for its object; results that come later are delivered."""
    monkeypatch.setattr("ittybatch.sinks.http._MOST_FAILURES", 2)
    address.answer = lambda request: Answer(404 if request.json["id"] == "task-0" else 200)
    tasks = submitted(ledger, 3)
    with delivering(ledger, file, CollectorRegistry()):
        ledger.write(settle, [library.remote(tasks[0])])
        wait_until(lambda: _status(ledger).failures)
        for task in tasks[1:]:
            ledger.write(settle, [library.remote(task)])
            wait_until(partial(_posted, address, task))
        wait_until(lambda: _status(ledger).pending == 0)
    assert _status(ledger).refused == 1
    assert "HTTP 404 (2 times, while others were taken)" in str(_status(ledger).last_error)


def test_full_groups_that_always_fail_do_not_keep_others_from_their_turn(
    address: Address, ledger: Ledger, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest results alone are more than one delivery takes; they are tried again later."""
    monkeypatch.setattr(channel, "GROUP", 5)
    known: set[str] = set()
    address.answer = lambda request: Answer(200 if request.json["id"] in known else 404)
    tasks = submitted(ledger, 14)
    known.update(tasks[10:])
    with delivering(ledger, file, CollectorRegistry()):
        ledger.write(settle, [library.remote(task) for task in tasks])
        wait_until(lambda: _status(ledger).pending == 10)
        known.update(tasks)
        wait_until(lambda: _status(ledger).pending == 0)
    assert _status(ledger).refused == 0


@pytest.mark.parametrize("status", [404, 500])
def test_results_that_always_fail_do_not_keep_others_from_their_turn(
    status: int, address: Address, open_http: OpenHttp
) -> None:
    """Even if there are enough of them at the head to end a group."""
    address.answer = lambda request: Answer(status if int(request.json["job_id"]) < 50 else 200)
    sink = open_http(concurrency=1)
    given = [succeeded(number) for number in range(53)]
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match=f"HTTP {status}"):
            sink.deliver(given)
    assert errors(sink.deliver(given)) == {50: None, 51: None, 52: None}
    assert len(address.requests) < 3 * 53, "a group ends after 20 failures"


def test_after_an_outage_each_result_gets_its_turn(address: Address, open_http: OpenHttp) -> None:
    """All have failed by then; those that go on failing do not stay at the head."""
    address.answer = lambda _: Answer(404)
    sink = open_http(concurrency=1)
    given = [succeeded(number) for number in range(21)]
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match="HTTP 404"):
            sink.deliver(given)
    address.answer = lambda request: Answer(404 if int(request.json["job_id"]) < 20 else 200)
    assert errors(sink.deliver(given)) == {20: None}
