"""A run that an operator suspends in the Prefect UI while its process works: the hold lasts."""

import logging
import threading
import time
from pathlib import Path

import pytest

from ittybatch.engine.replacing import was_cancelled
from ittybatch.engine.run_status import RunStatus
from ittybatch.ledger import Ledger, runs
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.control import resume_batch
from ittybatch.ledger.identity import batch_owner, chunk_owner
from ittybatch.ledger.legs import (
    Ending,
    Leg,
    ask,
    asked_leg,
    begin_leg,
    begin_wait,
    end_run,
)
from ittybatch.ledger.recorded import ledger_time
from ittybatch.ledger.states import BatchState, RunState
from ittybatch.ledger.stopping import suspended_in_prefect
from ittybatch.settings import Settings
from ittybatch.tasks import wait
from ittybatch.tasks.outcome import superseded_outcome
from tests.ledger import library

RUN = "run-1"


@pytest.fixture(autouse=True)
def suspensions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The flow run that the ledger names runs here; notes each key under which it suspends."""
    keys: list[str] = []
    monkeypatch.setattr(wait, "in_place", lambda: False)
    monkeypatch.setattr(wait, "suspend", lambda key, *_: keys.append(key))
    monkeypatch.setattr(wait, "get_run_logger", lambda: logging.getLogger("nowhere"))
    monkeypatch.setattr("ittybatch.tasks.leg.this_run", lambda: (RUN, "deployment"))
    return keys


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, linger_s=30)


def _at_work(ledger: Ledger) -> tuple[str, int, Leg, Leg]:
    """A batch with a job at Ittybit, and the legs of its own run and of its chunk."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    batch = library.place(ledger, chunk).batch_id
    legs = [ledger.write(begin_leg, o, RUN) for o in (batch_owner(batch), chunk_owner(chunk))]
    assert legs[0] is not None
    assert legs[1] is not None
    return batch, chunk, legs[0], legs[1]


def _suspend(ledger: Ledger, leg: Leg) -> None:
    """An operator suspends its run in the Prefect UI, and the waker sees it."""
    seen = ledger.read(runs.read_run, leg.owner)
    assert seen is not None
    assert ledger.write(suspended_in_prefect, seen)


def _is_held(ledger: Ledger, batch: str, leg: Leg) -> bool:
    run = ledger.read(runs.read_run, leg.owner)
    held = ledger.read(read_batch, batch).state is BatchState.HELD
    return held and run is not None and run.state is RunState.SUSPENDED


@pytest.mark.parametrize("of_chunk", [False, True])
def test_a_leg_that_finds_itself_suspended_goes_on_to_report_the_hold(
    ledger: Ledger, settings: Settings, suspensions: list[str], *, of_chunk: bool
) -> None:
    """It had read its batch as running; it ends as suspended, not as replaced."""
    batch, chunk, of_batch, of_its_chunk = _at_work(ledger)
    leg = of_its_chunk if of_chunk else of_batch
    _suspend(ledger, leg)
    assert wait.wait(ledger, settings, leg, chunk=chunk if of_chunk else None) == leg
    assert _is_held(ledger, batch, leg)
    assert ledger.write(end_run, leg) is Ending.SUSPENDED
    assert suspensions == []


def test_a_leg_that_lingers_does_not_undo_the_hold(
    ledger: Ledger, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has said a word since."""
    monkeypatch.setattr(wait, "_LULL_S", 30.0)
    batch, chunk, _, leg = _at_work(ledger)
    hold = threading.Timer(0.3, _suspend, (ledger, leg))
    hold.start()
    began = time.monotonic()
    assert wait.wait(ledger, settings, leg, chunk=chunk) == leg
    assert time.monotonic() - began < wait._LULL_S, "it has lingered until it was suspended"
    hold.join()
    assert _is_held(ledger, batch, leg)


def test_only_a_new_process_resumes_a_suspended_run(ledger: Ledger) -> None:
    """One that waits in place has been there all the time; Prefect starts one that is resumed."""
    batch, _, _, leg = _at_work(ledger)
    _suspend(ledger, leg)
    assert ledger.write(begin_leg, leg.owner, RUN, after=leg) == leg
    assert _is_held(ledger, batch, leg)
    assert ledger.write(begin_leg, leg.owner, RUN) != leg
    assert ledger.read(read_batch, batch).state is BatchState.RUNNING


def test_a_leg_that_was_suspended_and_resumed_unnoticed_makes_way_for_a_new_process(
    ledger: Ledger, settings: Settings, suspensions: list[str]
) -> None:
    """Prefect has its run suspended, and the waker is about to resume it."""
    _, chunk, _, leg = _at_work(ledger)
    _suspend(ledger, leg)
    assert ledger.write(resume_batch, leg.batch_id)
    wait.wait(ledger, settings, leg, chunk=chunk)
    assert suspensions == [f"chunk-leg-{leg.number}"]


def test_a_wait_whose_commit_was_not_confirmed_is_not_taken_for_the_end(ledger: Ledger) -> None:
    """The transaction is repeated, and finds what it has done itself."""
    _, _, leg, _ = _at_work(ledger)
    assert ledger.write(begin_wait, leg)
    assert ledger.write(begin_wait, leg)


def test_a_leg_that_was_replaced_asks_for_no_approval(ledger: Ledger) -> None:
    """The form of the leg that took its place stays the one whose answer counts."""
    batch, _, stale, _ = _at_work(ledger)
    leg = ledger.write(begin_leg, batch_owner(batch), RUN)
    assert leg is not None
    assert ledger.write(ask, leg, RUN)
    assert not ledger.write(ask, stale, RUN)
    assert ledger.read(asked_leg, batch, RUN) == leg.number
    assert ledger.write(end_run, stale) is Ending.SUPERSEDED


def test_a_run_that_another_replaced_does_not_look_cancelled_by_an_operator(
    ledger: Ledger,
) -> None:
    """The waker takes a cancelled run for the operator's word, and cancels its batch."""
    ended = superseded_outcome()
    status = RunStatus(ended.type, str(ended.name), ledger.read(ledger_time), ended.message)
    assert status.ended
    assert not was_cancelled(status)
