"""Brakes: a batch stops before it costs more than it is worth, and says why."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from ittybatch.engine.tuning import Tuning, tune_batch
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import end_batch, finish_planning, read_batch
from ittybatch.ledger.brakes import (
    Circuit,
    ceiling_of,
    gate_of,
    hold_if_alike,
    recovered,
    trip,
)
from ittybatch.ledger.chunks import finish_chunk, release_chunks
from ittybatch.ledger.control import cancel_chunk, hold_batch, resume_batch
from ittybatch.ledger.identity import chunk_owner, owned_chunk
from ittybatch.ledger.legs import begin_leg, begin_wait
from ittybatch.ledger.models import Batch, Job
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.runs import read_run, ready_runs
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState
from ittybatch.ledger.submission import claim_due, return_unsent
from tests.ledger import library


def _batch(ledger: Ledger, count: int, canary_items: int = 0, **options: object) -> str:
    batch = library.new_batch(ledger, options={"canary_items": canary_items, **options}).id
    page = library.page(*(library.job(f"{number}.mov", attempts=1) for number in range(count)))
    ledger.write(plan_page, batch, page, after=None, chunk_size=100, canary_items=canary_items)
    ledger.write(finish_planning, batch)
    return batch


def _chunk(ledger: Ledger, batch: str) -> int:
    chunk = owned_chunk(ledger.write(release_chunks, batch, 4)[-1])
    assert chunk is not None
    return chunk


def _reason(ledger: Ledger, batch: str) -> str:
    found = ledger.read(read_batch, batch)
    assert found.state is BatchState.HELD
    return str(found.reason)


@pytest.mark.parametrize(
    ("options", "ceiling"),
    [
        ({}, None),
        ({"max_submissions": 5}, 5),
        ({"max_cost": 1.0, "cost_per_job": 0.25}, 4),
        ({"max_submissions": 3, "max_cost": 1.0, "cost_per_job": 0.25}, 3),
        ({"max_cost": 0.3, "cost_per_job": 0.1}, 3),
        ({"max_cost": 4.35, "cost_per_job": 0.05}, 87),
    ],
)
def test_the_lower_ceiling_counts(options: dict[str, object], ceiling: int | None) -> None:
    """Money becomes submissions by the user's own rate."""
    assert ceiling_of(options) == ceiling


def test_a_batch_stops_at_its_ceiling(ledger: Ledger) -> None:
    """What was claimed goes out, nothing more; the batch says why."""
    batch = _batch(ledger, 10, max_submissions=4)
    chunk = _chunk(ledger, batch)
    sent = ledger.write(claim_due, chunk, 3)
    assert len(sent) == 3
    assert len(ledger.write(claim_due, chunk, 3)) == 1
    assert ledger.write(claim_due, chunk, 3) == []
    assert "4 submissions" in _reason(ledger, batch)


@pytest.mark.parametrize(
    ("options", "ceiling", "can_tune"),
    [
        ({"max_submissions": 2}, "max_submissions", True),
        ({"max_cost": 1.0, "cost_per_job": 0.5}, "max_cost", False),
        ({"max_cost": 1.0, "cost_per_job": 0.5, "max_submissions": 3}, "max_cost", False),
        ({"max_cost": 2.0, "cost_per_job": 0.5, "max_submissions": 2}, "max_submissions", True),
        # Raising one alone would leave the batch at the other.
        ({"max_cost": 1.0, "cost_per_job": 0.5, "max_submissions": 2}, "max_cost", False),
    ],
)
def test_the_reason_advises_what_raises_the_ceiling_that_was_reached(
    ledger: Ledger, options: dict[str, Any], ceiling: str, *, can_tune: bool
) -> None:
    """`tune` changes `max_submissions` only: beside a lower `max_cost` it would change nothing."""
    batch = _batch(ledger, 5, **options)
    chunk = _chunk(ledger, batch)
    assert len(ledger.write(claim_due, chunk, 5)) == 2
    assert ledger.write(claim_due, chunk, 5) == []
    reason = _reason(ledger, batch)
    assert f"`{ceiling}`" in reason
    assert "new run with a higher ceiling" in reason
    assert (f"`ittybatch tune {batch} --max-submissions" in reason) is can_tune
    ledger.write(tune_batch, batch, Tuning(max_submissions=4))
    ledger.write(resume_batch, batch)
    assert len(ledger.write(claim_due, chunk, 5)) == (2 if can_tune else 0)


@pytest.mark.parametrize(
    "options", [{"max_submissions": 4}, {"max_cost": 2.0, "cost_per_job": 0.5}]
)
def test_a_ceiling_that_is_just_enough_holds_nothing(
    ledger: Ledger, options: dict[str, Any]
) -> None:
    """All jobs were sent; nothing is left out."""
    batch = _batch(ledger, 4, **options)
    chunk = _chunk(ledger, batch)
    library.accept(ledger, ledger.write(claim_due, chunk, 10))
    assert ledger.write(claim_due, chunk, 10) == []
    assert ledger.read(read_batch, batch).state is BatchState.RUNNING
    ledger.write(settle, [library.remote(f"task-{number}") for number in range(4)])
    assert ledger.write(claim_due, chunk, 10) == []
    ledger.write(finish_chunk, chunk)
    assert ledger.write(end_batch, batch).state is BatchState.SUCCEEDED


def test_a_retry_at_the_ceiling_holds_the_batch_once_it_is_due(ledger: Ledger) -> None:
    """While it waits for its backoff nothing is left out."""
    batch = library.new_batch(ledger, options={"max_submissions": 2}).id
    page = library.page(library.job("a.mov"), library.job("b.mov"))
    ledger.write(plan_page, batch, page, after=None, chunk_size=1)
    ledger.write(finish_planning, batch)
    first, second = map(owned_chunk, ledger.write(release_chunks, batch, 4))
    assert first is not None
    assert second is not None
    library.accept(ledger, ledger.write(claim_due, first, 10), "first")
    library.accept(ledger, ledger.write(claim_due, second, 10), "second")
    ledger.write(settle, [library.failed("first-0")])
    for chunk in (first, second):
        assert ledger.write(claim_due, chunk, 10) == []
    assert ledger.read(read_batch, batch).state is BatchState.RUNNING
    ledger.write(lambda tx: tx.execute(update(Job).values(not_before=None)))
    assert ledger.write(claim_due, second, 10) == [], "nothing of it is left out"
    assert ledger.read(read_batch, batch).state is BatchState.RUNNING
    assert ledger.write(claim_due, first, 10) == []
    assert "2 submissions" in _reason(ledger, batch)


def test_the_chunk_that_comes_to_the_ceiling_second_holds_the_batch(ledger: Ledger) -> None:
    """Two chunks at once: what the first took is not there for the other."""
    batch = library.new_batch(ledger, options={"max_submissions": 1}).id
    page = library.page(library.job("a.mov"), library.job("b.mov"))
    ledger.write(plan_page, batch, page, after=None, chunk_size=1)
    ledger.write(finish_planning, batch)
    first, second = map(owned_chunk, ledger.write(release_chunks, batch, 4))
    assert first is not None
    assert second is not None
    assert len(ledger.write(claim_due, first, 10)) == 1
    assert ledger.read(read_batch, batch).state is BatchState.RUNNING
    assert ledger.write(claim_due, second, 10) == []
    assert "1 submission" in _reason(ledger, batch)


def test_what_was_not_sent_after_all_does_not_count(ledger: Ledger) -> None:
    """A 429 is no submission."""
    batch = _batch(ledger, 4, max_submissions=2)
    chunk = _chunk(ledger, batch)
    sent = ledger.write(claim_due, chunk, 2)
    ledger.write(return_unsent, [(each.job_id, each.attempt) for each in sent], 0)
    assert len(ledger.write(claim_due, chunk, 2)) == 2


def test_the_canary_goes_alone_until_it_has_ended_well(ledger: Ledger) -> None:
    """Then the rest follows."""
    batch = _batch(ledger, 10, canary_items=2)
    chunk = _chunk(ledger, batch)
    assert library.place(ledger, chunk).items == 2
    library.accept(ledger, ledger.write(claim_due, chunk, 10))
    assert len(ledger.write(release_chunks, batch, 4)) == 1, "its own run, not made yet"
    ledger.write(settle, [library.remote("task-0"), library.remote("task-1")])
    ledger.write(finish_chunk, chunk)
    rest = _chunk(ledger, batch)
    assert library.place(ledger, rest).items == 8


def test_a_canary_that_fails_holds_the_batch_until_somebody_has_looked(ledger: Ledger) -> None:
    """Resuming it is the word to go on."""
    batch = _batch(ledger, 10, canary_items=2, canary_max_failed_percent=40)
    chunk = _chunk(ledger, batch)
    library.accept(ledger, ledger.write(claim_due, chunk, 10))
    ledger.write(settle, [library.remote("task-0"), library.failed("task-1")])
    ledger.write(finish_chunk, chunk)
    assert ledger.write(release_chunks, batch, 4) == []
    assert "1 of the canary's 2 jobs failed, more than 40 %" in _reason(ledger, batch)
    assert ledger.write(resume_batch, batch)
    assert library.place(ledger, _chunk(ledger, batch)).items == 8


def test_a_canary_whose_jobs_were_all_cancelled_has_shown_nothing(ledger: Ledger) -> None:
    """At Ittybit, or with its flow run in the Prefect UI: somebody did not want them."""
    batch = _batch(ledger, 10, canary_items=2)
    chunk = _chunk(ledger, batch)
    ledger.write(cancel_chunk, chunk, "Its flow run was cancelled in Prefect.")
    ledger.write(finish_chunk, chunk)
    assert ledger.write(release_chunks, batch, 4) == []
    assert "all of its jobs (2) were cancelled" in _reason(ledger, batch)
    assert ledger.write(resume_batch, batch)
    assert library.place(ledger, _chunk(ledger, batch)).items == 8


def test_a_cancelled_canary_holds_nothing_where_nothing_is_left_to_send(ledger: Ledger) -> None:
    """It was the whole batch, or other batches make the rest: the batch ends."""
    batch = _batch(ledger, 2, canary_items=2)
    chunk = _chunk(ledger, batch)
    ledger.write(cancel_chunk, chunk, "Its flow run was cancelled in Prefect.")
    ledger.write(finish_chunk, chunk)
    assert ledger.write(release_chunks, batch, 4) == []
    assert ledger.read(read_batch, batch).state is BatchState.RUNNING
    assert ledger.write(end_batch, batch).state.ended


def test_a_pause_while_the_canary_is_under_way_keeps_the_rest_back(ledger: Ledger) -> None:
    """Nobody has seen how it ends: resuming is no word about that."""
    batch = _batch(ledger, 10, canary_items=2)
    chunk = _chunk(ledger, batch)
    library.accept(ledger, ledger.write(claim_due, chunk, 10))
    ledger.write(hold_batch, batch, "Paused.")
    assert ledger.write(resume_batch, batch)
    assert [owned_chunk(each) for each in ledger.write(release_chunks, batch, 4)] == [chunk]
    ledger.write(settle, [library.remote("task-0"), library.failed("task-1")])
    ledger.write(finish_chunk, chunk)
    assert ledger.write(release_chunks, batch, 4) == []
    assert "1 of the canary's 2 jobs failed" in _reason(ledger, batch)


def test_the_circuit_opens_for_longer_each_time_and_closes_on_success(ledger: Ledger) -> None:
    """One probe decides."""
    batch = _batch(ledger, 1)
    chunk = _chunk(ledger, batch)
    assert ledger.read(gate_of, chunk).circuit is Circuit.CLOSED
    assert [ledger.write(trip, batch) for _ in range(6)] == [30, 60, 120, 240, 480, 600]
    assert ledger.read(gate_of, chunk).circuit is Circuit.OPEN
    ledger.write(
        lambda tx: tx.execute(update(Batch).values(closed_until=tx.now - timedelta(seconds=1)))
    )
    assert ledger.read(gate_of, chunk).circuit is Circuit.PROBING
    ledger.write(recovered, batch)
    assert ledger.read(gate_of, chunk).circuit is Circuit.CLOSED


def test_a_chunk_sleeps_while_the_circuit_is_open(ledger: Ledger) -> None:
    """It would otherwise be woken each second for nothing."""
    batch = _batch(ledger, 1)
    chunk = _chunk(ledger, batch)
    leg = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert leg is not None
    ledger.write(trip, batch)
    ledger.write(begin_wait, leg)
    assert ledger.read(ready_runs) == []
    assert ledger.read(read_run, chunk_owner(chunk)) is not None


def _fail(ledger: Ledger, chunk: int, count: int, message: str = "no such codec") -> None:
    for number in range(count):
        [sent] = ledger.write(claim_due, chunk, 1)
        library.accept(ledger, [sent], f"{message}-{sent.job_id}")
        kind = "invalid_input"
        told = message if message != "various" else f"various {number}"
        ledger.write(settle, [library.failed(f"{message}-{sent.job_id}-0", kind, told)])


def test_jobs_that_fail_alike_hold_their_batch(ledger: Ledger) -> None:
    """Not at the first few, and not for failures of many kinds."""
    batch = _batch(ledger, 80)
    chunk = _chunk(ledger, batch)
    _fail(ledger, chunk, 19)
    assert not ledger.write(hold_if_alike, batch)
    _fail(ledger, chunk, 1)
    assert ledger.write(hold_if_alike, batch)
    assert "20 of the last 20 attempts failed alike: no such codec" in _reason(ledger, batch)
    assert ledger.write(resume_batch, batch)
    assert not ledger.write(hold_if_alike, batch), "what was seen before does not count again"
    _fail(ledger, chunk, 40, "various")
    assert not ledger.write(hold_if_alike, batch)


def test_successes_among_failures_are_no_alarm(ledger: Ledger) -> None:
    """A library always has some broken files."""
    batch = _batch(ledger, 40)
    chunk = _chunk(ledger, batch)
    _fail(ledger, chunk, 20)
    for _ in range(5):
        [sent] = ledger.write(claim_due, chunk, 1)
        library.accept(ledger, [sent], f"good-{sent.job_id}")
        ledger.write(settle, [library.remote(f"good-{sent.job_id}-0")])
    assert not ledger.write(hold_if_alike, batch)
    ledger.write(lambda tx: tx.execute(update(Job).values(not_before=None)))
