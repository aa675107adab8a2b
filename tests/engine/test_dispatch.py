"""Dispatch against a real sandbox: what the ledger holds is what the wire saw."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from ittybatch.engine.dispatch import Dispatched, Dispatcher
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.batches import change_options, read_batch
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.control import cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.models import Attempt, Batch, Job
from ittybatch.ledger.states import BatchState, JobState
from ittybatch.ledger.submission import claim_due
from tests.ledger import library
from tests.ledger.whole import accepted_attempts
from tests.sandbox.harness import KEY, Running, running

JOBS = 150


@contextmanager
def _troubled(**api: object) -> Iterator[Running]:
    with running(instant=True, faults={"seed": 3, "api": api}) as sandbox:
        yield sandbox


def _dispatch(ledger: Ledger, url: str, chunk: int, **given: Any) -> Dispatched:  # noqa: ANN401
    async def run() -> Dispatched:
        key = given.pop("key", KEY)
        client = IttybitClient(key, base_url=url, retry_wait_initial_s=0.01, retry_wait_cap_s=0.1)
        async with client:
            return await Dispatcher(ledger, client, chunk, **given).run()

    return asyncio.run(run())


def _names() -> list[str]:
    return [f"{number}.mov" for number in range(JOBS)]


def _seen(sandbox: Running, batch: str) -> dict[str, str]:
    """The sandbox's own account of a batch: Idempotency-Key to job."""
    jobs = sandbox.client.get("/_sandbox/jobs").json()
    ours = [job for job in jobs if job["metadata"].get("ittybatch_batch_id") == batch]
    assert all(job["created_by_key"] == 1 for job in ours)
    return {job["idempotency_key"]: job["id"] for job in ours}


def test_every_job_is_sent_once_under_its_key(ledger: Ledger, sandbox: Running) -> None:
    """Both sides of the wire name the same keys and the same jobs."""
    batch, chunk = library.planned_chunk(ledger, *_names())
    done = _dispatch(ledger, sandbox.url, chunk)
    assert (done.accepted, done.total) == (JOBS, JOBS)
    assert _seen(sandbox, batch) == ledger.read(accepted_attempts, batch)
    assert library.place(ledger, chunk).in_flight == JOBS


def test_metadata_tells_where_a_job_belongs(ledger: Ledger, sandbox: Running) -> None:
    """Batch, item, job and source, beside the user's own; and the connection, where set."""
    batch, chunk = library.planned_chunk(ledger, "a folder/ä.mov")
    _dispatch(ledger, sandbox.url, chunk, connection_id="conn_1")
    [task] = _seen(sandbox, batch).values()
    found = sandbox.client.get(f"/jobs/{task}").json()
    assert found["options"] == {"connection_id": "conn_1", "height": 480}
    metadata = found["metadata"]
    [row] = library.rows(ledger, batch)
    assert metadata == {
        "show": "pilot",
        "ittybatch_batch_id": batch,
        "ittybatch_item_id": f"{batch}/0",
        "ittybatch_job_key": row.job_key,
        "ittybatch_attempt": "1",
        "ittybatch_rendition": "sd",
        "ittybatch_source_bucket": "media",
        "ittybatch_source_key": "a folder/ä.mov",
    }


def test_the_users_own_metadata_arrives_as_given(ledger: Ledger, sandbox: Running) -> None:
    """Also under names that earlier versions took for themselves: a guide's `job_id` is one."""
    own = {
        "job_id": "0b7c7ab4-your-uuid",
        "batch_id": "b",
        "item_id": "i",
        "attempt": "9",
        "rendition": "r",
        "source_bucket": "theirs",
        "source_key": "theirs.mov",
    }
    batch, chunk = library.planned_chunk(ledger, "a.mov", metadata=own)
    _dispatch(ledger, sandbox.url, chunk)
    [task] = _seen(sandbox, batch).values()
    metadata = sandbox.client.get(f"/jobs/{task}").json()["metadata"]
    assert metadata.items() >= own.items()
    assert {name for name in metadata if name not in own} == {
        "ittybatch_batch_id",
        "ittybatch_item_id",
        "ittybatch_job_key",
        "ittybatch_attempt",
        "ittybatch_rendition",
        "ittybatch_source_bucket",
        "ittybatch_source_key",
    }


def test_lost_answers_do_not_double_jobs(ledger: Ledger) -> None:
    """Connections cut after acceptance, 503s and 429s: each job is made once all the same."""
    troubles = {
        "cut_after_accept": {"probability": 0.2},
        "server_error": {"probability": 0.1},
        "rate_limited": {"probability": 0.1, "retry_after_s": 0.05},
    }
    with _troubled(**troubles) as sandbox:
        batch, chunk = library.planned_chunk(ledger, *_names())
        done = _dispatch(ledger, sandbox.url, chunk)
        while done.unknown or done.put_back:
            _let_everything_be_due(ledger)
            done = _dispatch(ledger, sandbox.url, chunk)
        assert _seen(sandbox, batch) == ledger.read(accepted_attempts, batch)
        assert len(_seen(sandbox, batch)) == JOBS


@pytest.mark.usefixtures("no_look_before")
def test_a_service_that_is_down_loses_nothing(ledger: Ledger) -> None:
    """Nothing is known to be accepted or refused, so everything waits under its key."""
    with _troubled(server_error={"probability": 1}) as sandbox:
        batch, chunk = library.planned_chunk(ledger, "a.mov", "b.mov")
        done = _dispatch(ledger, sandbox.url, chunk)
        assert (done.accepted, done.unknown) == (0, 2)
        before = set(ledger.read(accepted_attempts, batch))
        sandbox.client.post("/_sandbox/faults", json={})
        assert _dispatch(ledger, sandbox.url, chunk).total == 0, "they wait first"
        _let_everything_be_due(ledger)
        assert _dispatch(ledger, sandbox.url, chunk).accepted == 2
        assert set(_seen(sandbox, batch)) == before


@pytest.mark.usefixtures("no_look_before")
def test_a_429_that_lasts_puts_everything_off_at_no_cost(ledger: Ledger) -> None:
    """For as long as it lasts no attempt is used up, and afterwards each job is made once."""
    with _troubled(rate_limited={"probability": 1, "retry_after_s": 240}) as sandbox:
        batch, chunk = library.planned_chunk(ledger, "a.mov", "b.mov")
        for _ in range(3):
            done = _dispatch(ledger, sandbox.url, chunk)
            assert (done.accepted, done.refused, done.put_back) == (0, 0, 2)
            assert _dispatch(ledger, sandbox.url, chunk).total == 0, "they wait first"
            _let_everything_be_due(ledger)
        assert _seen(sandbox, batch) == {}
        sandbox.client.post("/_sandbox/faults", json={})
        assert _dispatch(ledger, sandbox.url, chunk).accepted == 2
        assert _seen(sandbox, batch) == ledger.read(accepted_attempts, batch)
    assert {row.attempts for row in library.rows(ledger, batch)} == {1}


def test_a_refused_key_stops_the_batch_which_then_goes_on(ledger: Ledger, sandbox: Running) -> None:
    """401: nothing was accepted, nothing is lost, and the reason is told."""
    batch, chunk = library.planned_chunk(ledger, *_names())
    done = _dispatch(ledger, sandbox.url, chunk, key="wrong-key")
    assert done.stopped is not None
    assert done.put_back == done.total
    held = ledger.read(read_batch, batch)
    assert held.state is BatchState.HELD
    assert "401" in str(held.reason)
    assert "wrong-key" not in str(held.reason)
    assert library.place(ledger, chunk).planned == JOBS
    ledger.write(resume_batch, batch)
    assert _dispatch(ledger, sandbox.url, chunk).accepted == JOBS
    assert _seen(sandbox, batch) == ledger.read(accepted_attempts, batch)


def test_one_refused_job_stops_no_other(ledger: Ledger, sandbox: Running) -> None:
    """It fails for good with the service's own words."""
    bad = library.job("bad.mov", options={"fps": 999})
    batch = library.planned_batch(ledger, bad, library.job("good.mov"))
    done = _dispatch(ledger, sandbox.url, library.released_chunk(ledger, batch))
    assert (done.accepted, done.refused) == (1, 1)
    states = {row.input: (row.state, row.error_message) for row in library.rows(ledger, batch)}
    state, message = states["s3://media/bad.mov"]
    assert state is JobState.FAILED
    assert "fps" in str(message)


def test_a_crash_before_answers_are_recorded_makes_no_second_job(
    ledger: Ledger, sandbox: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next leg sends the same keys and gets the same jobs."""
    batch, chunk = library.planned_chunk(ledger, *_names())

    def die(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("ittybatch.engine.dispatch.record_responses", die)
        with pytest.raises(ExceptionGroup):
            _dispatch(ledger, sandbox.url, chunk)
    sent_before = _seen(sandbox, batch)
    assert sent_before, "some had reached the wire"
    assert set(ledger.read(accepted_attempts, batch).values()) == {None}
    _dispatch(ledger, sandbox.url, chunk)
    seen = _seen(sandbox, batch)
    assert seen == ledger.read(accepted_attempts, batch)
    assert len(seen) == JOBS
    assert sent_before.items() <= seen.items()


def test_a_key_past_its_window_is_not_trusted(ledger: Ledger, sandbox: Running) -> None:
    """After a day Ittybit forgets the key: the job is looked for before anything is sent."""
    batch, chunk = library.planned_chunk(ledger, "old.mov")
    _dispatch(ledger, sandbox.url, chunk)
    [(key, task)] = _seen(sandbox, batch).items()

    def forget(tx: Transaction) -> None:
        long_ago = tx.now - timedelta(hours=25)
        tx.execute(update(Attempt).values(sent_at=long_ago, task_id=None, state="sending"))
        tx.execute(update(Job).values(state="submitting", task_id=None))
        # As the service does: the same key would make, and bill, a new job.
        tx.execute(update(Attempt).values(idempotency_key="f" * 32))

    ledger.write(forget)
    assert _dispatch(ledger, sandbox.url, chunk).accepted == 1
    assert _seen(sandbox, batch) == {key: task}
    [row] = library.rows(ledger, batch)
    assert (row.state, row.task_id) == (JobState.SUBMITTED, task)


def _lose_the_answers(tx: Transaction) -> None:
    tx.execute(update(Attempt).values(task_id=None, state="sending"))
    tx.execute(update(Job).values(state="submitting", task_id=None))


def _an_hour_later(tx: Transaction) -> None:
    ago = tx.now - timedelta(hours=1)
    tx.execute(update(Attempt).values(sent_at=ago))
    tx.execute(update(Batch).values(ended_at=ago))
    tx.execute(update(Job).values(not_before=None))


def test_after_a_cancel_what_may_have_been_sent_is_looked_for_and_not_sent_again(
    ledger: Ledger, sandbox: Running
) -> None:
    """What Ittybit has is followed to its end; what never arrived is not paid for."""
    batch, chunk = library.planned_chunk(ledger, "arrived.mov")
    _dispatch(ledger, sandbox.url, chunk)
    seen = _seen(sandbox, batch)
    ledger.write(_lose_the_answers)
    other, lost = library.planned_chunk(ledger, "never-arrived.mov")
    ledger.write(claim_due, lost, 1)
    for each in (batch, other):
        ledger.write(cancel_batch, each, "enough")

    assert _dispatch(ledger, sandbox.url, chunk).accepted == 1
    assert _dispatch(ledger, sandbox.url, lost).unknown == 1, "it may be on its way"
    ledger.write(_an_hour_later)
    assert _dispatch(ledger, sandbox.url, lost).put_back == 1
    assert ledger.write(finish_chunk, lost)
    assert library.place(ledger, lost).cancelled == 1
    assert _seen(sandbox, batch) == seen
    assert _seen(sandbox, other) == {}


@pytest.mark.usefixtures("no_look_before")
def test_what_may_have_been_sent_waits_under_its_key_while_ittybit_is_busy(
    ledger: Ledger, sandbox: Running
) -> None:
    """A 429 tells nothing of the first try: a cancel now must not forget a job that is there."""
    batch, chunk = library.planned_chunk(ledger, "sent.mov")
    _dispatch(ledger, sandbox.url, chunk)
    ledger.write(_lose_the_answers)
    busy = {"api": {"rate_limited": {"probability": 1, "retry_after_s": 0.01}}}
    sandbox.client.post("/_sandbox/faults", json=busy)
    done = _dispatch(ledger, sandbox.url, chunk)
    assert (done.unknown, done.put_back) == (1, 0)
    [row] = library.rows(ledger, batch)
    assert row.state is JobState.SUBMITTING


def test_a_key_used_before_a_setting_changed_finds_its_job(
    ledger: Ledger, sandbox: Running
) -> None:
    """A deploy changes the webhook's address between a submission and its repeat."""
    batch, chunk = library.planned_chunk(ledger, "moved.mov")
    _dispatch(ledger, sandbox.url, chunk, webhook_url="http://127.0.0.1:9/old")
    seen = _seen(sandbox, batch)

    ledger.write(_lose_the_answers)
    done = _dispatch(ledger, sandbox.url, chunk, webhook_url="http://127.0.0.1:9/new")
    assert done.accepted == 1
    assert _seen(sandbox, batch) == seen


def test_two_legs_at_once_make_each_job_once(ledger: Ledger, sandbox: Running) -> None:
    """Two workers hold the same chunk."""
    batch, chunk = library.planned_chunk(ledger, *_names())
    left_open = ledger.write(claim_due, chunk, 20)
    assert len(left_open) == 20, "what an earlier leg claimed and both now send again"

    async def both() -> None:
        async with (
            IttybitClient(KEY, base_url=sandbox.url) as one,
            IttybitClient(KEY, base_url=sandbox.url) as two,
        ):
            await asyncio.gather(
                Dispatcher(ledger, one, chunk).run(), Dispatcher(ledger, two, chunk).run()
            )

    asyncio.run(both())
    seen = _seen(sandbox, batch)
    assert seen == ledger.read(accepted_attempts, batch)
    assert len(seen) == JOBS


def _let_everything_be_due(ledger: Ledger) -> None:
    ledger.write(lambda tx: tx.execute(update(Job).values(not_before=None)))


@pytest.mark.usefixtures("no_look_before")
def test_a_service_that_is_down_is_left_alone_and_probed(ledger: Ledger) -> None:
    """After a row of failures nothing more is sent; one probe decides when to go on."""
    with _troubled(server_error={"probability": 1}) as sandbox:
        batch, chunk = library.planned_chunk(ledger, *_names())
        done = _dispatch(ledger, sandbox.url, chunk, concurrency=4)
        assert done.tripped
        assert done.pause_s == 30
        assert done.unknown < 40, "the rest was not even tried"
        assert _dispatch(ledger, sandbox.url, chunk).total == 0, "the circuit is open"

        _let_the_circuit_be_tried(ledger)
        _let_everything_be_due(ledger)
        done = _dispatch(ledger, sandbox.url, chunk)
        assert (done.total, done.pause_s) == (1, 60), "one probe, and a longer pause"

        sandbox.client.post("/_sandbox/faults", json={})
        _let_the_circuit_be_tried(ledger)
        _let_everything_be_due(ledger)
        assert _dispatch(ledger, sandbox.url, chunk).accepted == JOBS
        assert _seen(sandbox, batch) == ledger.read(accepted_attempts, batch)


def test_a_batch_that_is_paused_while_it_is_submitted_stops_within_the_chunk(
    ledger: Ledger, sandbox: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was claimed and not sent is planned again; `resume` sends it under the same keys."""
    monkeypatch.setattr("ittybatch.engine.dispatch._READ_TERMS_EVERY_S", 0.05)
    batch, chunk = library.planned_chunk(ledger, *_names())
    ledger.write(change_options, batch, {"submit_per_s": 40})

    def pause(_: Dispatched) -> None:
        ledger.write(hold_batch, batch, "Paused.")

    done = _dispatch(ledger, sandbox.url, chunk, on_progress=pause)
    assert 0 < done.accepted < JOBS
    assert done.put_back > 0, "more was claimed than was sent"
    place = library.place(ledger, chunk)
    assert (place.planned, place.in_flight) == (JOBS - done.accepted, done.accepted)
    ledger.write(resume_batch, batch)
    ledger.write(change_options, batch, {"submit_per_s": None})
    assert _dispatch(ledger, sandbox.url, chunk).accepted == JOBS - done.accepted
    seen = _seen(sandbox, batch)
    assert seen == ledger.read(accepted_attempts, batch)
    assert len(seen) == JOBS


def test_what_may_have_been_sent_before_a_pause_is_asked_for_all_the_same(
    ledger: Ledger, sandbox: Running
) -> None:
    """An earlier leg died before it recorded the answer: Ittybit may have the job and bill it."""
    batch, chunk = library.planned_chunk(ledger, "a.mov", "b.mov")
    assert len(ledger.write(claim_due, chunk, 1)) == 1
    ledger.write(hold_batch, batch, "Paused.")
    done = _dispatch(ledger, sandbox.url, chunk)
    assert (done.accepted, done.total) == (1, 1)
    assert library.place(ledger, chunk).planned == 1


def test_a_batch_that_is_tuned_while_it_is_submitted_goes_at_the_new_pace(
    ledger: Ledger, sandbox: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the old one the rest of the chunk would take ten minutes."""
    monkeypatch.setattr("ittybatch.engine.dispatch._READ_TERMS_EVERY_S", 0.05)
    batch, chunk = library.planned_chunk(ledger, *_names())
    ledger.write(change_options, batch, {"submit_per_s": 0.25})

    def hasten(_: Dispatched) -> None:
        ledger.write(change_options, batch, {"submit_per_s": None})

    assert _dispatch(ledger, sandbox.url, chunk, on_progress=hasten).accepted == JOBS


def _let_the_circuit_be_tried(ledger: Ledger) -> None:
    ledger.write(lambda tx: tx.execute(update(Batch).values(closed_until=tx.now)))
