"""A library with a file that nothing can decode: told, kept apart, paid for once."""

import pytest

from tests.end_to_end.media.first_batches import BROKEN, PICTURE, FirstBatches
from tests.end_to_end.system import System

pytestmark = pytest.mark.timeout(600)

RENDITIONS = {"1080p", "480p", "poster", "sound"}


@pytest.fixture(scope="module")
def source(first_batches: FirstBatches) -> str:
    """A prefix with a picture and a file that has a video's name and header."""
    return first_batches.broken.source


@pytest.fixture(scope="module")
def batch(first_batches: FirstBatches) -> str:
    """The first batch over it; its command ended with exit status 1."""
    assert first_batches.broken.exit_status == 1, first_batches.broken.said
    return first_batches.broken.batch


def test_everything_else_succeeds(system: System, batch: str) -> None:
    """The broken file's jobs fail, the picture's succeed, and Prefect shows Failed."""
    states = {(job.input.rpartition("/")[2], job.state.value) for job in system.jobs(batch)}
    assert states == {(BROKEN, "failed"), (PICTURE, "succeeded")}
    assert system.outcome(batch) == "Failed"
    system.assert_both_sides_agree(batch)


def test_the_failure_is_told_with_its_reason(system: System, batch: str) -> None:
    """Permanent: one attempt each, with what Ittybit said."""
    told = system.told("failures", batch, "--json")
    assert {job["rendition"] for job in told["jobs"]} == RENDITIONS
    for job in told["jobs"]:
        assert job["attempts"] == 1
        assert job["status"] == "failed"
        assert job["output"] is None
        assert job["error"]["kind"] == "invalid_input"
        assert job["error"]["message"]
    assert sum(reason["jobs"] for reason in told["reasons"]) == len(RENDITIONS)
    assert {reason["state"] for reason in told["reasons"]} == {"failed"}


def test_a_second_run_does_not_pay_for_it_again(system: System, source: str, batch: str) -> None:
    """What failed for good is held back until somebody asks for it."""
    before = system.wire.created
    second = system.begin({"type": "bucket", "uri": source})
    assert second != batch
    plan = system.await_end(second).plan
    assert (plan["held_back"], plan["already_done"], plan.get("jobs", 0)) == (4, 2, 0)
    assert system.wire.created == before
    assert system.outcome(second) == "Completed"


def test_retry_makes_a_new_attempt_under_a_new_key(system: System, source: str, batch: str) -> None:
    """And the failed jobs alone."""
    before = system.wire.created
    done = system.command("retry", batch, "--follow")
    assert done.returncode == 1, done.stdout + done.stderr
    retried = system.newest(batch)
    system.await_end(retried)
    system.assert_both_sides_agree(retried)
    assert {job.rendition for job in system.jobs(retried)} == RENDITIONS
    assert {job.input for job in system.jobs(retried)} == {source + BROKEN}
    assert system.wire.created == before + len(RENDITIONS)
    assert not system.attempts(retried).keys() & system.attempts(batch).keys()
