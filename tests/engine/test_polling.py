"""Polling: batches end without a single webhook."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from ittybatch.engine.dispatch import Dispatcher
from ittybatch.engine.polling import Polled, poll_expired, poll_overdue
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ledger import Ledger
from ittybatch.ledger.identity import chunk_owner
from ittybatch.ledger.models import Attempt, Job, Run
from ittybatch.ledger.settlement import expire
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import claim_due
from tests.ledger import library
from tests.sandbox.harness import KEY, Running, running, wait_for


@contextmanager
def _sandbox(**given: Any) -> Iterator[Running]:  # noqa: ANN401
    with running(instant=True, **given) as up:
        yield up


async def _send(ledger: Ledger, url: str, chunk: int) -> None:
    async with IttybitClient(KEY, base_url=url) as client:
        await Dispatcher(ledger, client, chunk).run()


async def _poll(ledger: Ledger, url: str, silent_s: float = 0) -> Polled:
    async with IttybitClient(KEY, base_url=url, attempts=1) as client:
        return await poll_overdue(ledger, client, silent_s=silent_s, limit=200)


def _sent(ledger: Ledger, sandbox: Running, *names: str) -> tuple[str, int]:
    batch = library.planned_batch(ledger, *(library.job(name) for name in names))
    chunk = library.released_chunk(ledger, batch)
    asyncio.run(_send(ledger, sandbox.url, chunk))
    return batch, chunk


def _let_deadlines_pass(ledger: Ledger) -> None:
    ledger.write(
        lambda tx: tx.execute(update(Job).values(deadline_at=tx.now - timedelta(seconds=1)))
    )


def test_a_job_that_ended_unheard_is_settled_by_asking(ledger: Ledger) -> None:
    """By the same path as its webhook would have been."""
    with _sandbox() as sandbox:
        batch, chunk = _sent(ledger, sandbox, "a.mov", "b.mov")

        def settled() -> bool:
            asyncio.run(_poll(ledger, sandbox.url))
            return library.place(ledger, chunk).in_flight == 0

        wait_for(settled)
        assert {row.state for row in library.rows(ledger, batch)} == {JobState.SUCCEEDED}


def test_nothing_is_asked_before_its_time(ledger: Ledger) -> None:
    """Webhooks are cheaper than questions."""
    with _sandbox() as sandbox:
        _sent(ledger, sandbox, "a.mov")
        assert asyncio.run(_poll(ledger, sandbox.url, silent_s=600)).asked == 0


def test_a_job_that_never_ends_is_given_up_at_its_deadline(ledger: Ledger) -> None:
    """Not before Ittybit was asked; and never sent again by itself."""
    with _sandbox(faults={"jobs": [{"action": "hang"}]}) as sandbox:
        batch, _ = _sent(ledger, sandbox, "a.mov")
        asyncio.run(_poll(ledger, sandbox.url))
        assert library.rows(ledger, batch)[0].state is JobState.SUBMITTED
        _let_deadlines_pass(ledger)
        ledger.write(lambda tx: tx.execute(update(Job).values(polled_at=None)))
        assert asyncio.run(_poll(ledger, sandbox.url)).expired == 1
        assert library.rows(ledger, batch)[0].state is JobState.EXPIRED


def test_a_job_that_the_service_lost_is_made_again(ledger: Ledger) -> None:
    """It answered with an id once, and 404 now."""
    with _sandbox() as sandbox:
        batch, chunk = _sent(ledger, sandbox, "a.mov")
        ledger.write(lambda tx: tx.execute(update(Attempt).values(task_id="task_gone")))
        ledger.write(lambda tx: tx.execute(update(Job).values(task_id="task_gone")))
        assert asyncio.run(_poll(ledger, sandbox.url)).settled == 1
        [row] = library.rows(ledger, batch)
        assert (row.state, row.error_kind) == (JobState.PLANNED, "job_lost")
        assert library.place(ledger, chunk).planned == 1


def test_a_lost_answer_is_found_by_metadata_at_the_deadline(ledger: Ledger) -> None:
    """Rather than given up: the job was made, and has succeeded."""
    with _sandbox() as sandbox:
        batch, _ = _sent(ledger, sandbox, "a.mov")
        wait_for(lambda: sandbox.client.get("/jobs").json()[0]["status"] == "succeeded")
        ledger.write(lambda tx: tx.execute(update(Attempt).values(task_id=None, state="sending")))
        ledger.write(lambda tx: tx.execute(update(Job).values(task_id=None, state="submitting")))
        _let_deadlines_pass(ledger)
        asyncio.run(_poll(ledger, sandbox.url))
        assert library.rows(ledger, batch)[0].state is JobState.SUCCEEDED


def test_what_was_claimed_and_never_sent_is_sent_after_its_deadline(ledger: Ledger) -> None:
    """Its process died in between, and no other came in time: it costs nothing to send it."""
    with _sandbox() as sandbox:
        batch = library.planned_batch(ledger, library.job("a.mov"))
        chunk = library.released_chunk(ledger, batch)
        [claimed] = ledger.write(claim_due, chunk, 10)
        _let_deadlines_pass(ledger)
        assert asyncio.run(_poll(ledger, sandbox.url)).expired == 0
        assert library.rows(ledger, batch)[0].state is JobState.PLANNED
        woken = select(Run.owner).where(Run.wake_at.is_not(None))
        assert ledger.read(lambda tx: tx.rows(woken)) == [(chunk_owner(chunk),)]

        asyncio.run(_send(ledger, sandbox.url, chunk))
        [there] = sandbox.all_jobs()
        assert there["idempotency_key"] == claimed.idempotency_key
        assert library.rows(ledger, batch)[0].state is JobState.SUBMITTED


def _questions(sandbox: Running) -> dict[str, int]:
    """Requests that asked after jobs, by route."""
    requests = sandbox.client.get("/_sandbox/summary").json()["requests"]
    return {
        "list": sum(n for route, n in requests.items() if route.startswith("GET /jobs ")),
        "one": sum(n for route, n in requests.items() if route.startswith("GET /jobs/")),
    }


def test_many_silent_jobs_are_asked_after_through_the_list(ledger: Ledger) -> None:
    """A page of it tells of a hundred, for the price of one question."""
    with _sandbox() as sandbox:
        batch, _ = _sent(ledger, sandbox, *(f"{number}.mov" for number in range(150)))
        wait_for(lambda: all(job["status"] == "succeeded" for job in sandbox.all_jobs()))
        before = _questions(sandbox)
        assert asyncio.run(_poll(ledger, sandbox.url)).settled == 150
        assert {row.state for row in library.rows(ledger, batch)} == {JobState.SUCCEEDED}
        asked = _questions(sandbox)
        assert asked["one"] - before["one"] == 1
        assert asked["list"] - before["list"] <= 4


def test_the_list_is_left_where_it_tells_of_others_jobs(ledger: Ledger) -> None:
    """An account may hold millions that are not ours: those are not walked through."""
    with _sandbox() as sandbox:
        ours = _sent(ledger, sandbox, *(f"old-{number}.mov" for number in range(12)))[0]
        for number in range(220):
            asked = {"input": f"s3://other/{number}.mov", "kind": "video"}
            sandbox.client.post("/jobs", json=asked).raise_for_status()
        _sent(ledger, sandbox, "new.mov")
        wait_for(lambda: all(job["status"] == "succeeded" for job in sandbox.all_jobs()))
        before = _questions(sandbox)
        assert asyncio.run(_poll(ledger, sandbox.url)).settled == 13
        assert {row.state for row in library.rows(ledger, ours)} == {JobState.SUCCEEDED}
        assert _questions(sandbox)["list"] - before["list"] <= 3


def test_a_service_that_is_away_changes_nothing(ledger: Ledger) -> None:
    """Not even past a deadline: silence on our side proves nothing about the job."""
    with _sandbox() as sandbox:
        batch, _ = _sent(ledger, sandbox, "a.mov")
    _let_deadlines_pass(ledger)
    done = asyncio.run(_poll(ledger, sandbox.url))
    assert (done.failed, done.expired) == (1, 0)
    assert done.trouble
    assert library.rows(ledger, batch)[0].state is JobState.SUBMITTED


def test_an_expired_job_is_asked_after_before_it_is_retried(ledger: Ledger) -> None:
    """One that has succeeded by then is paid for once."""
    with _sandbox() as sandbox:
        batch, _ = _sent(ledger, sandbox, "a.mov")
        _let_deadlines_pass(ledger)
        ledger.write(expire, library_job_id(ledger))
        assert library.rows(ledger, batch)[0].state is JobState.EXPIRED
        wait_for(lambda: sandbox.client.get("/jobs").json()[0]["status"] == "succeeded")

        async def ask() -> Polled:
            async with IttybitClient(KEY, base_url=sandbox.url) as client:
                return await poll_expired(ledger, client, batch)

        assert asyncio.run(ask()).settled == 1
        assert library.rows(ledger, batch)[0].state is JobState.SUCCEEDED


def library_job_id(ledger: Ledger) -> int:
    """The only job's row."""
    return int(ledger.read(lambda tx: tx.execute(Job.__table__.select()).one().id))
