"""A request is in the ledger before it is sent, and is answered with Ittybit's ids."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.queries import accepted_attempts
from ittybatch.ledger.states import BatchState, ChunkState, JobState, RunState
from ittybatch.settings import Settings
from tests.intake import harness
from tests.intake.harness import by_kind, by_profile, take
from tests.sandbox.harness import Running, running


@pytest.fixture
def sandbox() -> Iterator[Running]:
    # One for each test: another ledger's keys would be in use.
    with running(instant=True) as up:
        yield up


@pytest.fixture
def settings(tmp_path: Path, sandbox: Running) -> Settings:
    return harness.settings_of(tmp_path, sandbox.url)


def test_a_request_is_answered_with_ittybits_id(ledger: Ledger, settings: Settings) -> None:
    """The job was claimed, sent and accepted, and its batch is today's."""
    [taken] = take(ledger, settings, by_kind("a.mov", metadata={"media_id": 7}))
    [job] = taken.jobs
    assert job.task_id
    assert (job.status, job.kind, job.rendition, job.created) == (
        "processing",
        "video",
        "video",
        True,
    )
    [row] = harness.jobs(ledger)
    assert (row.state, row.task_id, row.attempt) == (JobState.SUBMITTED, job.task_id, 1)
    [batch] = harness.batches(ledger)
    assert (batch.id, batch.state, batch.name) == (
        taken.batch_id,
        BatchState.RUNNING,
        "requests",
    )
    [chunk] = harness.chunks(ledger)
    assert (chunk.state, chunk.growing, chunk.in_flight, chunk.sent, chunk.items) == (
        ChunkState.RELEASED,
        True,
        1,
        1,
        1,
    )
    assert {run.state for run in harness.runs(ledger)} == {RunState.STARTING}


def test_a_profile_makes_all_its_renditions(
    ledger: Ledger, settings: Settings, sandbox: Running
) -> None:
    """In the order of the profile, each with an id of its own."""
    [taken] = take(ledger, settings, by_profile("a.mov"))
    assert [job.rendition for job in taken.jobs] == ["hd", "sd", "sound"]
    ours = {job["id"]: job for job in harness.sandbox_jobs(sandbox)}
    assert {job.task_id for job in taken.jobs} <= ours.keys()
    accepted = ledger.read(accepted_attempts, taken.batch_id)
    assert all(ours[task]["idempotency_key"] == key for key, task in accepted.items() if task)


def test_the_same_request_at_the_same_time_is_made_once(ledger: Ledger, settings: Settings) -> None:
    """Both callers get the same ids; one of them made the jobs."""
    both = take(ledger, settings, by_profile("a.mov"), by_profile("a.mov"))
    first, second = ([job.task_id for job in taken.jobs] for taken in both)
    assert first == second
    assert None not in first
    assert [job.created for taken in both for job in taken.jobs] == [True] * 3 + [False] * 3
    assert len(harness.jobs(ledger)) == 3
