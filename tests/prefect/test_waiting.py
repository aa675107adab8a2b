"""Waiting in a process: it ends at its limit, and asks Prefect seldom and patiently."""

import time

import pytest

from ittybatch.engine.flow_runs import PrefectUnavailable
from ittybatch.engine.following import NoBatch
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import finish_planning
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.retrying import RetryFilter, ended_jobs
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.submission import claim_due
from ittybatch.prefect import IttybitBatch, IttybitBatchRun, IttybitJobRun, wait_suspended
from ittybatch.prefect.asking import FlowRunEnds
from ittybatch.prefect.job import JobFailed
from tests.ledger import library
from tests.prefect.stand_in import prefect_answers

RUN = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def _settings(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    monkeypatch.setattr("ittybatch.prefect.waiting._CHECK_EVERY_S", 0.01)


@pytest.mark.parametrize("timeout_s", [0, 0.05, None])
def test_a_flow_that_waits_in_its_process_has_a_limit(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, timeout_s: float | None
) -> None:
    """Its own, of which 0 is one, or that of the setting; the error says what continues."""
    monkeypatch.setenv("ITTYBATCH_SUSPEND_TIMEOUT_S", "0.1")
    chunk, [sent] = library.submitted(ledger, library.job("a.mov"))
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=f"Job {sent.job_id} has not ended within 0") as late:
        wait_suspended(IttybitJobRun("batch", [sent.job_id]), timeout_s=timeout_s)
    assert (0.1 if timeout_s is None else timeout_s) <= time.monotonic() - began < 5
    assert "It continues" in str(late.value)
    assert f"`ittybatch jobs {library.place(ledger, chunk).batch_id}`" in str(late.value)


def test_a_job_that_was_made_again_gives_its_result(ledger: Ledger) -> None:
    """A retry is another job in another batch; the flow that is retried finds and awaits it."""
    chunk, [sent] = library.submitted(ledger, library.job("a.mov"))
    run = IttybitJobRun("batch", [sent.job_id])
    ledger.write(settle, [library.failed("task-0", "invalid_input", "it is not media")])
    with pytest.raises(JobFailed, match="it is not media") as failed:
        wait_suspended(run)
    batch = library.place(ledger, chunk).batch_id
    assert failed.value.remedy is not None
    assert failed.value.remedy.startswith(f"`ittybatch retry {batch}` makes such jobs")
    assert "retry this flow run" in failed.value.remedy

    [again] = ledger.read(ended_jobs, RetryFilter(batch, ["failed"]), after=0, limit=5)
    second = library.new_batch(ledger).id
    retry = library.page(again.job, again=[again.id])
    ledger.write(plan_page, second, retry, after=None, chunk_size=10)
    ledger.write(finish_planning, second)
    with pytest.raises(TimeoutError, match=r"Job \d+ has not ended"):
        wait_suspended(run, timeout_s=0)
    new = ledger.write(claim_due, library.released_chunk(ledger, second), 10)
    library.accept(ledger, new, prefix="again")
    ledger.write(settle, [library.remote("again-0")])
    [result] = wait_suspended(run).jobs
    assert (result.id, result.output_url) == (new[0].job_id, "https://cdn.test/out.mp4")


def test_prefect_is_asked_seldom_and_with_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not answer for a while: the wait goes on as long as it may."""
    monkeypatch.setattr("ittybatch.prefect.asking._ASK_EVERY_S", 0.2)
    began = time.monotonic()
    # At last it answers that it has no such flow run.
    with (
        prefect_answers((500, {}), (500, {}), (200, [])) as prefect,
        pytest.raises(NoBatch, match="has not begun a batch"),
    ):
        wait_suspended(IttybitBatchRun(RUN), timeout_s=60)
    assert (prefect.requests, prefect.connections) == (3, 1)
    assert time.monotonic() - began >= 0.4
    with prefect_answers((500, {})), pytest.raises(TimeoutError, match=f"ittybatch follow {RUN}"):
        IttybitBatchRun(RUN).wait_for_completion(0.01)


def test_what_has_ended_is_not_asked_about_again() -> None:
    """The second question, a moment later, gets the same answer."""
    with prefect_answers((200, [])) as prefect, FlowRunEnds() as ends:
        assert ends.has_ended(RUN)
        assert ends.has_ended(RUN)
    assert prefect.requests == 1


def test_a_prefect_that_refuses_is_not_waited_for() -> None:
    """It would refuse again."""
    with prefect_answers((403, {})), pytest.raises(PrefectUnavailable, match="403"):
        wait_suspended(IttybitBatchRun(RUN), timeout_s=30)


def test_a_batch_is_not_started_without_prefects_address() -> None:
    """Prefect's client would start a server of its own, which has no deployment."""
    with pytest.raises(PrefectUnavailable, match="PREFECT_API_URL is not set"):
        IttybitBatch(source="s3://media/in/").trigger()
