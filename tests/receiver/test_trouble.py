"""The database is away, or somebody sends what no sane service would."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.states import Verdict
from ittybatch.receiver import app, inbox
from tests.ledger import library
from tests.receiver.harness import Running, deliveries, payload, raw, running, wait_until
from tests.receiver.relay import Line, relayed

# Ittybit waits so long for an answer.
PATIENCE_S = 5.0
DEEP = 300


def test_an_answer_comes_while_ittybit_still_listens() -> None:
    """A late 200 would be taken for a failure, and a late 503 too."""
    assert app._LEDGER_PATIENCE_S < inbox._MAX_COMMIT_S < PATIENCE_S


@contextmanager
def locked(sqlite_url: str) -> Iterator[None]:
    """Somebody else writes to the SQLite file and does not come to an end."""
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def assert_refused_in_time(receiver: Running, bodies: Sequence[object]) -> None:
    began = time.monotonic()
    answers = receiver.post_at_once(bodies)
    assert time.monotonic() - began < PATIENCE_S
    assert {answer.status_code for answer in answers} == {503}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)


def test_a_locked_ledger_is_told_in_time_and_loses_nothing(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 within what Ittybit waits; sent again, each counts once."""
    monkeypatch.setattr(inbox, "_MAX_COMMIT_S", 1.0)
    ledger = Ledger(create_ledger_engine(sqlite_url))
    chunk, _ = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    bodies = [payload("task-0"), payload("task-1")]
    with running(sqlite_url) as up:
        with locked(sqlite_url):
            assert_refused_in_time(up, bodies)
            assert up.get("/healthz").text == "ok"
            assert_refused_in_time(up, bodies)
        wait_until(lambda: {answer.status_code for answer in up.post_at_once(bodies)} == {200})
    place = library.place(ledger, chunk)
    assert (place.succeeded, place.in_flight) == (2, 0)
    ledger.close()


@pytest.mark.parametrize("line", [Line.CUT, Line.SILENT])
def test_a_database_that_is_away_is_told_in_time_and_found_again(
    postgres_url: str, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it refuses connections or swallows what it is sent."""
    monkeypatch.setattr(app, "_LEDGER_PATIENCE_S", 1.0)
    monkeypatch.setattr(inbox, "_MAX_COMMIT_S", 2.0)
    ledger = Ledger(create_ledger_engine(postgres_url))
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    with relayed(postgres_url) as (url, relay), running(url) as up:
        assert up.post(payload("task-unknown")).status_code == 200
        relay.set(line)
        assert_refused_in_time(up, [payload("task-0")] * 3)
        assert up.get("/healthz").text == "ok"
        relay.set(Line.UP)
        wait_until(lambda: up.post(payload("task-0")).status_code == 200)
        wait_until(lambda: up.get("/readyz").status_code == 200)
    assert library.place(ledger, chunk).succeeded == 1
    ledger.close()


HOSTILE = {
    "NUL in the id": b'{"id": "a\\u0000b", "status": "succeeded"}',
    "NUL in all text": raw(payload("task-0", "fai\0led", error="\0", kind="\0", x="\0")),
    "NUL in the mark": raw(payload("x", metadata={"batch_id": "\0", "job_id": "\0", "attempt": 1})),
    "huge numbers": b'{"id": 1, "status": "succeeded", "metadata": {"batch_id": "b",'
    b' "job_id": "j", "attempt": 1e999}, "output": {"url": "u", "width": 1%s}}' % (b"0" * 4000),
    "large attempt": raw(payload("y", metadata={"batch_id": "b", "job_id": "j", "attempt": 2**62})),
    "lone surrogate": b'{"id": "\\ud800", "status": "succeeded"}',
    "NaN": b'{"id": "z", "status": "succeeded", "output": {"url": "u", "width": NaN}}',
    "deep": b'{"id": "task-2", "status": "succeeded", "x": %s%s}' % (b"[" * DEEP, b"]" * DEEP),
    "bottomless": b'{"id": "w", "x": ' + b"[" * 100_000,
    "endless id": raw(payload("i" * 100_000)),
    "many outputs": raw({**payload("v"), "output": [{"url": "u"}] * 10_000}),
    "time travel": raw(payload("task-1", completed_at=10**18)),
    "not text": b"\x00\xff\xfe",
}


def test_a_hostile_webhook_does_not_sink_those_it_arrives_with(
    receiver: Running, ledger: Ledger
) -> None:
    """Each is kept to the byte, and the good ones among them are applied."""
    jobs = [library.job(f"{number}.mov", attempts=1) for number in range(5)]
    chunk, _ = library.submitted(ledger, *jobs)
    good = [payload("task-3"), payload("task-4")]
    answers = receiver.post_at_once([good[0], *HOSTILE.values(), good[1]])
    assert {answer.status_code for answer in answers} == {200}
    assert [answers[0].text, answers[-1].text] == ["applied", "applied"]
    kept = {row.body for row in deliveries(ledger)}
    assert kept == {*HOSTILE.values(), *map(raw, good)}
    assert library.place(ledger, chunk).succeeded >= 4


def test_a_webhook_that_cannot_be_stored_as_read_is_kept_unread(
    receiver: Running, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a database may come to dislike, it is one webhook's own trouble."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))

    def dislike(transaction: Transaction, arrivals: Sequence[Arrival]) -> list[Verdict]:
        if any(arrival.job and arrival.job.id == "task-1" for arrival in arrivals):
            raise ValueError("no such thing can be stored")
        return receive(transaction, arrivals)

    monkeypatch.setattr(inbox, "receive", dislike)
    answers = receiver.post_at_once([payload("task-0"), payload("task-1")])
    assert [answer.text for answer in answers] == ["applied", "malformed"]
    assert {row.verdict for row in deliveries(ledger)} == {"applied", "malformed"}
    place = library.place(ledger, chunk)
    assert (place.succeeded, place.in_flight) == (1, 1)


def test_more_than_memory_should_hold_is_refused(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit of waiting webhooks, the next one gets a 503 and is sent again."""
    monkeypatch.setattr(inbox, "_MAX_PENDING", 0)
    with running(sqlite_url) as up:
        assert up.post(payload("task-0")).status_code == 503
