"""Who asked for what is kept: with the lever, or before it begins, and never in its way."""

from pathlib import Path
from uuid import uuid4

import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from ittybatch.engine.flow_runs import PrefectUnavailable
from ittybatch.engine.recording import recorded
from ittybatch.engine.steering import Action, CannotSteer, change_batch, steer
from ittybatch.engine.tuning import CannotTune, Tuning
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import Asker, DoneAction, Via, recent_actions
from ittybatch.ledger.batches import finish_planning, read_batch
from ittybatch.ledger.control import pause_batch
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.states import BatchState
from ittybatch.settings import Settings
from ittybatch.tasks.approve import decide
from tests.ledger import library
from tests.ledger.lost_answers import one_answer_lost

ANN = Asker("ann@studio", Via.CLI)


def _steer(ledger: Ledger, batch: str, action: Action, changes: Tuning | None = None) -> None:
    settings = Settings(home=Path("nowhere"))
    steer(ledger, settings, batch, action, by=ANN.name, via=ANN.via, changes=changes)


def _newest(ledger: Ledger) -> DoneAction:
    return ledger.read(recent_actions, limit=1)[0]


def test_the_answer_of_prefects_form_is_recorded(ledger: Ledger) -> None:
    """An approval costs money, whichever way it comes; one that came too late is recorded too."""

    def waiting(name: str) -> str:
        batch = library.new_batch(ledger).id
        ledger.write(plan_page, batch, library.page(library.job(name)), after=None, chunk_size=10)
        ledger.write(finish_planning, batch, "Too many jobs.")
        return batch

    approved, cancelled = waiting("a.mov"), waiting("b.mov")
    decide(ledger, approved, "wait")
    assert ledger.read(recent_actions) == []
    decide(ledger, approved, "approve")
    decide(ledger, cancelled, "cancel")
    decide(ledger, cancelled, "approve")
    assert ledger.read(read_batch, approved).state is BatchState.RUNNING
    reason = ledger.read(read_batch, cancelled).reason
    assert reason == "Cancelled by the form of flow run run-batch."
    assert [
        (each.action, each.batch_id, each.via, each.actor, each.refused)
        for each in ledger.read(recent_actions)
    ] == [
        (action, batch, Via.PREFECT, "the form of flow run run-batch", refused)
        for action, batch, refused in (
            ("approve", cancelled, True),
            ("cancel", cancelled, False),
            ("approve", approved, False),
        )
    ]


def test_each_lever_of_a_batch_is_recorded_with_its_outcome_and_so_is_a_refusal(
    ledger: Ledger,
) -> None:
    batch = library.new_batch(ledger).id
    ledger.write(plan_page, batch, library.page(library.job("a.mov")), after=None, chunk_size=10)
    ledger.write(finish_planning, batch, None)
    _steer(ledger, batch, Action.TUNE, Tuning(max_active_chunks=9))
    tuned = _newest(ledger)
    assert (tuned.action, tuned.actor, tuned.via, tuned.batch_id) == (
        "tune", "ann@studio", Via.CLI, batch,
    )  # fmt: skip
    assert tuned.details == {"max_active_chunks": 9}
    _steer(ledger, batch, Action.PAUSE)
    assert ledger.read(read_batch, batch).reason == "Paused by ann@studio."
    assert _newest(ledger).outcome.startswith(f"Batch {batch} is held.")
    _steer(ledger, batch, Action.CANCEL)
    assert "1 job will not be sent" in _newest(ledger).outcome
    for action, why, error in (
        (Action.PAUSE, "has ended already", CannotSteer),
        (Action.APPROVE, "does not wait for approval", CannotSteer),
        (Action.RESUME, "is not held", CannotSteer),
        (Action.TUNE, "nothing left to tune", CannotTune),
    ):
        with pytest.raises(error):
            _steer(ledger, batch, action, Tuning(max_active_chunks=3))
        refused = _newest(ledger)
        assert (refused.action, refused.refused) == (action.value, True)
        assert why in refused.outcome
    assert ledger.read(read_batch, batch).state is BatchState.CANCELLED


def test_a_lever_without_prefects_answer_says_what_it_has_done(ledger: Ledger) -> None:
    """Otherwise it would be pulled again, and refused."""
    batch = library.new_batch(ledger, flow_run_id=str(uuid4())).id
    ledger.write(plan_page, batch, library.page(library.job("a.mov")), after=None, chunk_size=10)
    ledger.write(finish_planning, batch, None)
    ledger.write(pause_batch, batch, "bob")
    nobody = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(nobody), pytest.raises(PrefectUnavailable) as caught:
        _steer(ledger, batch, Action.RESUME)
    done = f"Batch {batch} is running. Prefect did not answer"
    assert str(caught.value).startswith(done)
    assert "The receiver creates them" in str(caught.value)
    newest = _newest(ledger)
    assert newest.outcome.startswith(done)
    assert (newest.refused, newest.id) == (False, caught.value.record)


@pytest.mark.parametrize("action", list(Action))
def test_a_lever_whose_commit_got_no_answer_is_pulled_and_recorded_once(
    ledger: Ledger, action: Action
) -> None:
    """It is not refused because it has worked; by somebody else it is, as ever."""
    batch = library.new_batch(ledger).id
    ledger.write(plan_page, batch, library.page(library.job("a.mov")), after=None, chunk_size=10)
    ledger.write(finish_planning, batch, "Look." if action is Action.APPROVE else None)
    if action is Action.RESUME:
        ledger.write(pause_batch, batch, "bob")
    changes = Tuning(max_active_chunks=9) if action is Action.TUNE else Tuning()
    with one_answer_lost(ledger):
        done = change_batch(ledger, batch, action, ANN, changes)
    [record] = ledger.read(recent_actions)
    assert (record.id, record.action, record.refused) == (done.record, action.value, False)
    assert record.outcome == done.describe()
    assert done.cancelled == (1 if action is Action.CANCEL else 0)
    if action in {Action.APPROVE, Action.RESUME}:
        with pytest.raises(CannotSteer), one_answer_lost(ledger):
            change_batch(ledger, batch, action, ANN, changes)
        assert [each.refused for each in ledger.read(recent_actions)] == [True, False]


def test_a_record_whose_commit_got_no_answer_is_made_once(ledger: Ledger) -> None:
    """The other would say for ever that its lever has only begun."""
    with one_answer_lost(ledger), recorded(ledger, ANN, "retry"):
        pass
    assert [each.outcome for each in ledger.read(recent_actions)] == ["Done."]


def test_a_lever_of_several_steps_is_recorded_before_it_begins(ledger: Ledger) -> None:
    """So a process that dies in the middle leaves a record of it."""
    with recorded(ledger, ANN, "release", details={"input": "s3://a"}) as record:
        assert _newest(ledger).outcome.startswith("Begun")
        record.outcome = "Released 3 jobs."
    assert _newest(ledger).outcome == "Released 3 jobs."
    with pytest.raises(IttybatchError), recorded(ledger, ANN, "retry"):
        raise IttybatchError("Prefect does not answer.")
    assert (_newest(ledger).refused, _newest(ledger).outcome) == (True, "Prefect does not answer.")
    with pytest.raises(KeyboardInterrupt), recorded(ledger, ANN, "db tidy"):
        raise KeyboardInterrupt
    assert (_newest(ledger).refused, "KeyboardInterrupt" in _newest(ledger).outcome) == (
        False, True,
    )  # fmt: skip


def test_a_lever_is_pulled_even_if_it_cannot_be_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The record is for people; the log says what is missing in it."""
    ledger = Ledger(create_ledger_engine(f"sqlite:///{tmp_path}/without-tables.db"), patience_s=0.1)
    with recorded(ledger, ANN, "deploy") as record:
        assert record.number is None
    assert "deploy by ann@studio is not among the recorded actions" in caplog.text
    ledger.close()


def test_what_is_done_can_be_filtered_by_who_and_how(ledger: Ledger) -> None:
    for name, via in (("ann@studio", Via.CLI), ("Bob", Via.PAGE), ("bobby", Via.CLI)):
        with recorded(ledger, Asker(name, via), "retry"):
            pass
    assert [each.actor for each in ledger.read(recent_actions, actor="bob")] == ["bobby", "Bob"]
    assert [each.actor for each in ledger.read(recent_actions, via=Via.PAGE)] == ["Bob"]
