"""Runs: who works for what, when it is to be woken, and who takes its place."""

from datetime import timedelta

from sqlalchemy import select, update

from ittybatch.ledger import Ledger, Transaction, runs
from ittybatch.ledger.batches import end_batch
from ittybatch.ledger.chunks import finish_chunk, release_chunks
from ittybatch.ledger.control import cancel_batch, hold_batch, restart_runs, resume_batch
from ittybatch.ledger.identity import batch_owner, chunk_owner, owned_chunk
from ittybatch.ledger.legs import beat, begin_leg, begin_wait, end_run, has_news
from ittybatch.ledger.models import Chunk, Job, Run
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState, ChunkState, RunState
from ittybatch.ledger.submission import claim_due, postpone_unanswered, unanswered
from tests.ledger import library


def _later(ledger: Ledger, seconds: float) -> None:
    """Let time pass for runs and jobs."""
    step = timedelta(seconds=seconds)

    def shift(tx: Transaction) -> None:
        for column in (Run.wake_at, Run.heartbeat_at, Run.since):
            for row in tx.rows(select(Run.owner, column.label("at")).where(column.is_not(None))):
                changed = {column.key: row.at - step}
                tx.execute(update(Run).where(Run.owner == row.owner).values(changed))
        for row in tx.rows(select(Job.id, Job.not_before).where(Job.not_before.is_not(None))):
            changed = {"not_before": row.not_before - step}
            tx.execute(update(Job).where(Job.id == row.id).values(changed))

    ledger.write(shift)


def _ready(ledger: Ledger) -> list[str]:
    return [run.owner for run in ledger.read(runs.ready_runs)]


def _chunk(owner: str) -> int:
    chunk = owned_chunk(owner)
    assert chunk is not None
    return chunk


def _all_succeeded(ledger: Ledger, chunk: int) -> None:
    """A chunk of one job is done."""
    succeeded = update(Chunk).where(Chunk.id == chunk).values(planned=0, succeeded=1)
    ledger.write(lambda tx: tx.execute(succeeded))
    assert ledger.write(finish_chunk, chunk)


def _wait(ledger: Ledger, batch: str) -> None:
    """The batch's run goes through a leg, and waits."""
    leg = ledger.write(begin_leg, batch_owner(batch), "run-of-batch")
    assert leg is not None
    ledger.write(begin_wait, leg)


def test_a_leg_has_a_number_of_its_own(ledger: Ledger) -> None:
    """A pause fires once a key: no two waits of a run may share one."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    first = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    second = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (1, 2)


def test_a_run_that_was_replaced_may_not_go_on(ledger: Ledger) -> None:
    """Of two runs for one chunk the older one ends by itself."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    owner = chunk_owner(chunk)
    leg = ledger.write(begin_leg, owner, "run-1")
    assert leg is not None
    assert ledger.write(runs.replace_run, owner, 0)
    assert not ledger.write(runs.replace_run, owner, 0), "of two that would, one does"
    ledger.write(runs.bind_run, owner, 1, "run-2")
    assert not ledger.write(beat, leg)
    assert ledger.write(begin_leg, owner, "run-1") is None
    assert ledger.write(begin_leg, owner, "run-2") is not None


def test_a_chunk_is_ready_when_nothing_is_open(ledger: Ledger) -> None:
    """Not at the first webhook, but at the last."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    leg = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert leg is not None
    ledger.write(begin_wait, leg)
    ledger.write(settle, [library.remote("task-0")])
    assert _ready(ledger) == []
    ledger.write(settle, [library.remote("task-1")])
    assert _ready(ledger) == [chunk_owner(chunk)]


def test_news_during_a_leg_is_not_lost(ledger: Ledger) -> None:
    """The last webhook comes after the leg has looked and before it says that it waits."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    leg = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert leg is not None
    ledger.write(settle, [library.remote("task-0")])
    ledger.write(begin_wait, leg)
    _later(ledger, 1)
    assert _ready(ledger) == [chunk_owner(chunk)]


def test_a_retry_makes_its_chunk_ready_when_it_is_due(ledger: Ledger) -> None:
    """Also while other jobs are still in flight."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    leg = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert leg is not None
    ledger.write(begin_wait, leg)
    ledger.write(settle, [library.failed("task-0")])
    assert _ready(ledger) == []
    _later(ledger, 15)
    assert _ready(ledger) == [chunk_owner(chunk)]


def test_a_deadline_makes_its_chunk_ready(ledger: Ledger) -> None:
    """Though nothing is ever heard."""
    chunk, _ = library.submitted(ledger, library.job("a.mov", deadline_s=30.0))
    leg = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert leg is not None
    ledger.write(begin_wait, leg)
    assert _ready(ledger) == []
    _later(ledger, 31)
    assert _ready(ledger) == [chunk_owner(chunk)]


def test_an_unanswered_submission_makes_its_chunk_ready(ledger: Ledger) -> None:
    """It has to be sent again under its key."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    leg = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert leg is not None
    ledger.write(postpone_unanswered, [(sent.job_id, 1)], 15)
    ledger.write(begin_wait, leg)
    assert _ready(ledger) == []
    _later(ledger, 16)
    assert _ready(ledger) == [chunk_owner(chunk)]


def test_a_claim_whose_commit_got_no_answer_does_not_wait_for_its_deadline(
    ledger: Ledger,
) -> None:
    """The transition was repeated and claimed others, so no leg has the first group in hand."""
    batch = library.planned_batch(ledger, *(library.job(name) for name in ("a", "b")))
    chunk = library.released_chunk(ledger, batch)
    leg = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert leg is not None
    [lost] = ledger.write(claim_due, chunk, 1)
    library.accept(ledger, ledger.write(claim_due, chunk, 1))
    ledger.write(begin_wait, leg)
    _later(ledger, 1)
    assert _ready(ledger) == [chunk_owner(chunk)]
    after = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert after is not None
    assert ledger.read(unanswered, chunk) == [lost]
    ledger.write(postpone_unanswered, [(lost.job_id, lost.attempt)], 15)
    ledger.write(begin_wait, after)
    _later(ledger, 1)
    assert _ready(ledger) == [], "it was looked at, and is not due before its next look"


def test_a_leg_that_waits_in_place_is_not_woken_from_outside(ledger: Ledger) -> None:
    """It looks for itself."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    leg = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert leg is not None
    ledger.write(begin_wait, leg, in_place=True)
    assert not ledger.read(has_news, leg)
    ledger.write(settle, [library.remote("task-0")])
    assert ledger.read(has_news, leg)
    assert _ready(ledger) == []


def test_a_chunk_is_done_once_and_wakes_its_batch(ledger: Ledger) -> None:
    """The batch then releases the next one, or ends."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    batch = library.place(ledger, chunk).batch_id
    leg = ledger.write(begin_leg, batch_owner(batch), None)
    assert leg is not None
    ledger.write(begin_wait, leg)
    assert not ledger.write(finish_chunk, chunk)
    ledger.write(settle, [library.remote("task-0")])
    assert ledger.write(finish_chunk, chunk)
    assert ledger.write(finish_chunk, chunk)
    assert library.place(ledger, chunk).state is ChunkState.DONE
    assert _ready(ledger) == [batch_owner(batch)]
    assert ledger.write(end_batch, batch).state is BatchState.SUCCEEDED


def test_a_batch_that_can_only_tell_how_far_it_is_is_not_woken_for_each_chunk(
    ledger: Ledger,
) -> None:
    """Nothing is left to release, and others are still open: it is told of them together."""
    jobs = [library.job(f"{number}.mov") for number in range(3)]
    batch = library.planned_batch(ledger, *jobs, chunk_size=1)
    first, second = (_chunk(owner) for owner in ledger.write(release_chunks, batch, 2))
    _wait(ledger, batch)
    _all_succeeded(ledger, first)
    assert _ready(ledger) == [batch_owner(batch)], "one is left to release"
    third = _chunk(ledger.write(release_chunks, batch, 2)[-1])
    _wait(ledger, batch)
    _all_succeeded(ledger, second)
    assert _ready(ledger) == []
    _later(ledger, 30)
    assert _ready(ledger) == [batch_owner(batch)], "it is told in the end"
    _wait(ledger, batch)
    _all_succeeded(ledger, third)
    assert _ready(ledger) == [batch_owner(batch)], "that was the last one"


def test_a_batch_with_a_failure_does_not_end_as_succeeded(ledger: Ledger) -> None:
    """Ended is not succeeded."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    batch = library.place(ledger, chunk).batch_id
    assert ledger.write(end_batch, batch).state is BatchState.RUNNING
    outcomes = [library.remote("task-0"), library.failed("task-1", "invalid_input", "no")]
    ledger.write(settle, outcomes)
    ledger.write(finish_chunk, chunk)
    assert ledger.write(end_batch, batch).state is BatchState.SOME_FAILED


def test_chunks_are_released_as_far_as_there_is_room(ledger: Ledger) -> None:
    """The ledger knows of a run before Prefect makes it."""
    jobs = [library.job(f"{number}.mov") for number in range(3)]
    batch = library.planned_batch(ledger, *jobs, chunk_size=1)
    first = ledger.write(release_chunks, batch, 2)
    assert len(first) == 2
    assert ledger.write(release_chunks, batch, 2) == first, "nobody made their runs yet"
    for owner in first:
        ledger.write(runs.bind_run, owner, 0, f"run-{owner}")
    assert ledger.write(release_chunks, batch, 2) == []
    assert len(ledger.write(release_chunks, batch, 3)) == 1


def test_a_silent_leg_is_found(ledger: Ledger) -> None:
    """Its process was killed, and nobody said so."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    leg = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert leg is not None
    assert ledger.read(runs.silent_runs, 60) == []
    _later(ledger, 61)
    assert chunk_owner(chunk) in [run.owner for run in ledger.read(runs.silent_runs, 60)]
    ledger.write(beat, leg)
    assert chunk_owner(chunk) not in [run.owner for run in ledger.read(runs.silent_runs, 60)]


def test_a_resumed_batch_gets_new_runs_for_what_is_unfinished(ledger: Ledger) -> None:
    """For itself and each chunk that was released and not done."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    chunk = library.released_chunk(ledger, batch)
    for owner in (batch_owner(batch), chunk_owner(chunk)):
        leg = ledger.write(begin_leg, owner, None if owner.startswith("batch") else "run-1")
        assert leg is not None
        ledger.write(hold_batch, batch, "401")
        ledger.write(end_run, leg)
    assert ledger.write(resume_batch, batch)
    assert ledger.write(restart_runs, batch) == [batch_owner(batch), chunk_owner(chunk)]
    run = ledger.read(runs.read_run, chunk_owner(chunk))
    assert run is not None
    assert (run.state, run.generation, run.flow_run_id) == (RunState.STARTING, 1, None)


def test_a_cancelled_batch_wakes_everything_that_waits(ledger: Ledger) -> None:
    """So that it ends now, not at a deadline."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    batch = library.place(ledger, chunk).batch_id
    leg = ledger.write(begin_leg, chunk_owner(chunk), "run-1")
    assert leg is not None
    ledger.write(begin_wait, leg)
    ledger.write(cancel_batch, batch, "enough")
    assert chunk_owner(chunk) in _ready(ledger)


def test_what_comes_back_after_a_cancel_is_cancelled_too(ledger: Ledger) -> None:
    """A failure that another attempt might mend: nobody makes one, and the chunk ends."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    batch = library.place(ledger, chunk).batch_id
    ledger.write(cancel_batch, batch, "enough")
    ledger.write(settle, [library.failed("task-0")])
    assert library.place(ledger, chunk).planned == 1
    assert ledger.write(finish_chunk, chunk)
    place = library.place(ledger, chunk)
    assert (place.state, place.planned, place.cancelled) == (ChunkState.DONE, 0, 1)
    assert library.rows(ledger, batch)[0].error_message == "enough"
