"""A stopped batch sends nothing more, although its leg has claimed jobs and has them queued."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from ittybatch.engine import dispatch as dispatching_module
from ittybatch.ledger import Ledger
from ittybatch.ledger.brakes import Circuit, gate_of, trip
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.control import cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.identity import chunk_owner
from ittybatch.ledger.legs import Leg, begin_leg
from ittybatch.ledger.models import Batch
from ittybatch.ledger.runs import replace_run
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import claim_due
from tests.engine.dispatching import dispatch
from tests.engine.doorway import Doorway
from tests.ledger import library

CONCURRENCY = 4
JOBS = 3 * CONCURRENCY
_DOWN = (503, b'{"error": {"kind": "unavailable", "message": "back soon"}}')
_BUSY = (429, b'{"error": {"kind": "rate_limited", "message": "slow down"}}')


@pytest.fixture(autouse=True)
def _limits_are_read_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatching_module, "_READ_TERMS_EVERY_S", 0.02)


def _chunk(ledger: Ledger, jobs: int = JOBS) -> tuple[str, int, Leg]:
    batch, chunk = library.planned_chunk(ledger, *(f"{number}.mov" for number in range(jobs)))
    leg = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert leg is not None
    return batch, chunk, leg


def _stop_at_the_first(
    door: Doorway,
    stop: Callable[[], object],
    answer: tuple[int, bytes] | None = None,
    *,
    requests: int = CONCURRENCY,
) -> None:
    """Stop something while the first requests are at Ittybit, and queued jobs wait for them."""

    def act() -> None:
        stop()

    together = threading.Barrier(requests, action=act)

    def before(method: str, _path: str, _body: bytes) -> tuple[int, bytes] | None:
        if method != "POST":
            return None
        if len(_posts(door)) <= requests:
            together.wait(10)
            time.sleep(0.05)
        return answer

    door.before = before


def _posts(door: Doorway) -> list[str]:
    return [path for method, path in door.requests if method == "POST"]


@pytest.mark.parametrize("stop", [hold_batch, cancel_batch])
@pytest.mark.parametrize("answer", [None, _BUSY])
def test_jobs_that_are_queued_when_a_batch_is_stopped_are_not_sent(
    ledger: Ledger, door: Doorway, stop: Callable[..., Any], answer: tuple[int, bytes] | None
) -> None:
    """Nor are those sent again to which Ittybit has just answered that it is busy."""
    batch, chunk, leg = _chunk(ledger)
    _stop_at_the_first(door, lambda: ledger.write(stop, batch, "Enough."), answer)
    done = dispatch(
        ledger, door.url, chunk, leg=leg, concurrency=CONCURRENCY, attempts=3, retry_wait_s=0.1
    )
    assert len(_posts(door)) == CONCURRENCY
    accepted = 0 if answer else CONCURRENCY
    assert (done.accepted, done.put_back) == (accepted, JOBS - accepted)
    if stop is cancel_batch:
        assert ledger.write(finish_chunk, chunk) is bool(answer)
        assert library.place(ledger, chunk).cancelled == JOBS - accepted
    else:
        ledger.write(resume_batch, batch)
        assert library.place(ledger, chunk).planned == JOBS - accepted


def test_requests_that_may_not_be_repeated_do_not_open_the_circuit(
    ledger: Ledger, door: Doorway
) -> None:
    """Each was tried once: that says little about the service, and the batch may go on at once."""
    many = 24
    batch, chunk, leg = _chunk(ledger, many)
    _stop_at_the_first(
        door, lambda: ledger.write(hold_batch, batch, "Enough."), _BUSY, requests=many
    )
    done = dispatch(
        ledger, door.url, chunk, leg=leg, concurrency=many, attempts=3, retry_wait_s=0.1
    )
    assert (len(_posts(door)), done.put_back, done.tripped) == (many, many, None)
    ledger.write(resume_batch, batch)
    assert ledger.read(gate_of, chunk).circuit is Circuit.CLOSED


@pytest.mark.parametrize("stop", ["pause", "replace"])
def test_a_probe_that_is_cut_short_leaves_the_circuit_as_it_was(
    ledger: Ledger, door: Doorway, stop: str
) -> None:
    """Only an answer of the service tells that it is up, and only repeated tries that it is not."""
    batch, chunk, leg = _chunk(ledger)
    ledger.write(trip, batch)
    ledger.write(trip, batch)
    ledger.write(lambda tx: tx.execute(update(Batch).values(closed_until=tx.now)))

    def act() -> None:
        if stop == "pause":
            ledger.write(hold_batch, batch, "Enough.")
        else:
            ledger.write(replace_run, leg.owner, leg.generation)

    _stop_at_the_first(door, act, _DOWN, requests=1)
    done = dispatch(ledger, door.url, chunk, leg=leg, attempts=3, retry_wait_s=0.1)
    assert (len(_posts(door)), done.total, done.pause_s) == (1, 1, 0)
    assert ledger.read(gate_of, chunk).circuit is Circuit.PROBING
    trips = ledger.read(lambda tx: tx.execute(select(Batch.trips)).scalar_one())
    assert trips == 2


@pytest.mark.parametrize("answer", [None, _BUSY])
def test_a_leg_that_was_replaced_while_it_was_frozen_sends_nothing_more(
    ledger: Ledger, door: Doorway, answer: tuple[int, bytes] | None
) -> None:
    """Its successor has looked for these jobs, and relies on what it found."""
    _, chunk, leg = _chunk(ledger)
    _stop_at_the_first(door, lambda: ledger.write(replace_run, leg.owner, leg.generation), answer)
    done = dispatch(
        ledger, door.url, chunk, leg=leg, concurrency=CONCURRENCY, attempts=3, retry_wait_s=0.1
    )
    assert len(_posts(door)) == CONCURRENCY
    accepted = 0 if answer else CONCURRENCY
    assert (done.accepted, done.put_back) == (accepted, 0), "a successor may have sent the rest"
    assert library.place(ledger, chunk).planned == 0


def test_a_leg_that_was_replaced_before_it_claims_leaves_the_jobs_to_its_successor(
    ledger: Ledger, door: Doorway
) -> None:
    """Also those that an earlier leg may have sent."""
    batch, chunk, leg = _chunk(ledger)
    ledger.write(claim_due, chunk, 1)
    ledger.write(replace_run, leg.owner, leg.generation)
    dispatch(ledger, door.url, chunk, leg=leg)
    assert _posts(door) == []
    states = [row.state for row in library.rows(ledger, batch)]
    assert states.count(JobState.PLANNED) == JOBS - 1
