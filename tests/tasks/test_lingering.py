"""Lingering: a chunk's leg stays awake for jobs that end as it looks on, and for no others."""

import threading
import time

import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.identity import chunk_owner
from ittybatch.ledger.legs import Leg, begin_leg
from ittybatch.ledger.runs import read_run
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import RunState
from ittybatch.tasks import wait
from tests.ledger import library

_LULL_S = 0.5
_LONG_S = 30.0


@pytest.fixture(autouse=True)
def _short_lull(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "_LULL_S", _LULL_S)


def _sent(ledger: Ledger, jobs: int) -> tuple[int, Leg]:
    """A chunk whose jobs are at Ittybit, and the leg that has sent them."""
    chunk, _ = library.submitted(ledger, *(library.job(f"{n}.mov") for n in range(jobs)))
    leg = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert leg is not None
    return chunk, leg


def test_a_leg_stays_while_the_last_jobs_end(ledger: Ledger) -> None:
    """One after the other, and together they take longer than any pause between two of them."""
    jobs = 4
    chunk, leg = _sent(ledger, jobs)

    def end_them() -> None:
        for number in range(jobs):
            time.sleep(0.6 * _LULL_S)
            ledger.write(settle, [library.remote(f"task-{number}")])

    ending = threading.Thread(target=end_them)
    ending.start()
    try:
        assert wait._linger(ledger, leg, chunk, _LONG_S)
    finally:
        ending.join()
    assert library.place(ledger, chunk).in_flight == 0


def test_a_leg_does_not_stay_for_jobs_that_take_their_time(ledger: Ledger) -> None:
    """It gives up after a lull; until it suspends, nobody takes it for asleep."""
    chunk, leg = _sent(ledger, 2)
    began = time.monotonic()
    assert not wait._linger(ledger, leg, chunk, _LONG_S)
    assert _LULL_S <= time.monotonic() - began < _LONG_S
    run = ledger.read(read_run, leg.owner)
    assert run is not None
    assert run.state is RunState.AWAKE


def test_a_leg_that_may_not_linger_does_not(ledger: Ledger) -> None:
    """Whoever wants every wait to be a suspension sets it to nothing."""
    chunk, leg = _sent(ledger, 1)
    ledger.write(settle, [library.remote("task-0")])
    assert not wait._linger(ledger, leg, chunk, 0)
