"""The state that a batch's flow run ends in, which alerts and filters in Prefect go by."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest
from prefect import State
from prefect.client.schemas.objects import StateType
from prefect.exceptions import Abort
from prefect.states import Cancelled, Completed, Crashed, Failed

from ittybatch.errors import IttybatchError
from ittybatch.ledger.chunks import ChunkPlace
from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.states import BatchState, ChunkState
from ittybatch.tasks.collect import chunk_outcome, stopped_outcome
from ittybatch.tasks.leg import LegInterrupted
from ittybatch.tasks.outcome import outcome, superseded_outcome
from ittybatch.tasks.step import ends_quietly

COUNTS = {"items": 4, "jobs": 4, "planned": 0, "in_flight": 0}
ENDED = {"succeeded": 3, "failed": 1, "expired": 0, "cancelled": 0}


def _status(state: BatchState, reason: str | None = None) -> BatchStatus:
    now = datetime.now(UTC)
    return BatchStatus(
        id="20260131-020000-abcdef",
        name="nightly",
        state=state,
        reason=reason,
        profile="web",
        source={},
        options={},
        created_at=now,
        ended_at=now,
        tidied_at=None,
        flow_run_id=None,
        counts={**COUNTS, **ENDED},
        plan={},
        chunks=1,
        chunks_done=1,
        retried=0,
        waits_for_room=False,
    )


@pytest.mark.parametrize(
    ("state", "reason", "shown", "says"),
    [
        (BatchState.SUCCEEDED, None, "Completed", "3 of 4 jobs succeeded"),
        (BatchState.SOME_FAILED, None, "Failed", "`ittybatch failures 20260131-020000-abcdef`"),
        (BatchState.HELD, "The key was refused.", "Failed", "The key was refused. `ittybatch res"),
        (BatchState.HELD, "Paused by `ittybatch pause`.", "Cancelled", "Paused by"),
        (BatchState.CANCELLED, "Cancelled by Ann.", "Cancelled", "Cancelled by Ann. 3 of 4"),
    ],
)
def test_a_batchs_run_is_failed_only_where_somebody_has_to_look(
    state: BatchState, reason: str | None, shown: str, says: str
) -> None:
    """Under a name that Prefect's own automations and filters know."""
    ended = outcome(_status(state, reason))
    assert (ended.name, ended.type) == (shown, StateType[shown.upper()])
    assert says in str(ended.message)
    if state is BatchState.HELD:
        assert "`ittybatch resume 20260131-020000-abcdef`" in str(ended.message)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (BatchState.SUCCEEDED, "There was nothing new to do: 7 items found."),
        (BatchState.HELD, "No job has been planned yet."),
        (BatchState.CANCELLED, "No job has been planned yet."),
    ],
)
def test_only_a_source_that_was_read_to_its_end_had_nothing_new(
    state: BatchState, says: str
) -> None:
    """One that could not be read never looks like an empty one."""
    none = dict.fromkeys((*COUNTS, *ENDED), 0)
    status = replace(_status(state, "gone.csv is not there."), counts=none, plan={"found": 7})
    assert str(outcome(status).message).endswith(says)


@pytest.mark.parametrize("held", [False, True])
def test_a_chunks_run_never_fails_for_its_jobs(*, held: bool) -> None:
    """An alert is about a batch, however many chunks it has; so many failed, its message says."""
    place = ChunkPlace(
        id=1,
        batch_id="b",
        number=1,
        of=2,
        state=ChunkState.DONE,
        items=4,
        sent=4,
        retried=0,
        planned=0,
        in_flight=0,
        succeeded=3,
        failed=1,
        cancelled=0,
        expired=0,
    )
    ended = stopped_outcome(place) if held else chunk_outcome(place)
    assert (ended.name, ended.type) == ("Completed", StateType.COMPLETED)
    assert ("held" if held else "3 jobs succeeded, 1 failed") in str(ended.message)


def test_a_run_that_was_replaced_is_no_failure() -> None:
    """Nor does it pass for the end of its batch."""
    assert superseded_outcome().name == "Crashed"


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize(
    ("raised", "shown"), [(IttybatchError, "Failed"), (LegInterrupted, "Crashed")]
)
@pytest.mark.usefixtures("_silence")
def test_an_error_of_ours_ends_a_run_in_words(
    monkeypatch: pytest.MonkeyPatch, raised: type[IttybatchError], shown: str, *, deployed: bool
) -> None:
    """A leg of a batch that another run takes up has crashed, and not failed."""
    monkeypatch.setattr(
        "ittybatch.tasks.step.this_run", lambda: ("run", "deployment" if deployed else None)
    )

    def flow_function() -> State[None]:
        raise raised("The disk is full.", remedy="Make room.")

    state = _end_of(flow_function)
    # Nobody takes up what was called directly.
    assert state.name == (shown if deployed else "Failed")
    assert str(state.message).startswith("The disk is full. Make room.")
    assert ("Another flow run" in str(state.message)) == (deployed and shown == "Crashed")


@pytest.mark.parametrize("make", [Failed, Crashed, Cancelled, Completed])
@pytest.mark.parametrize("deployed", [False, True])
def test_prefects_engine_is_given_nothing_to_log_a_traceback_of(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., State[None]], *, deployed: bool
) -> None:
    """What it would raise at the end of a deployed run; a direct call raises what can be caught."""
    monkeypatch.setattr(
        "ittybatch.tasks.step.this_run", lambda: ("run", "deployment" if deployed else None)
    )
    state = _end_of(lambda: make(message="why"))
    quiet = deployed and make is not Completed
    assert isinstance(state.data, Abort) == quiet


def _end_of(flow_function: Callable[[], State[None]]) -> State[None]:
    """The state that Prefect's engine is given."""
    return cast("Callable[[], State[None]]", ends_quietly(flow_function))()


@pytest.fixture
def _silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's logger of a run, which there is none of."""
    monkeypatch.setattr("ittybatch.tasks.step.get_run_logger", lambda: logging.getLogger("nowhere"))
