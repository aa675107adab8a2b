"""Every shape that a webhook has been seen in settles its job."""

from typing import Any

import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import Accepted, record_accepted
from tests.ittybit.samples import ENVELOPE, EVENT, FILE, FLAT, GET_JOB, LEGACY_TASK
from tests.ledger import library
from tests.receiver.harness import Running, deliveries, payload

TYPED: dict[str, Any] = {"type": "job.succeeded", "data": payload("task_typed")}


def submitted(ledger: Ledger, task: str) -> str:
    """A batch with one job, accepted under this id and with no attempt left after it."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov", attempts=1))
    ledger.write(record_accepted, [Accepted(sent.job_id, sent.attempt, task)])
    assert library.place(ledger, chunk).in_flight == 1
    return sent.batch_id


@pytest.mark.parametrize(
    ("payload", "task", "url"),
    [
        (FLAT, "task_a1b2c3d4", "https://cdn.ittybit.com/clippable/export-38271.mp4"),
        (ENVELOPE, "task_abc123", "https://cdn.ittybit.com/abc/video.mp4"),
        (TYPED, "task_typed", "https://cdn.test/task_typed.mp4"),
        (EVENT, "task_01h455", "https://cdn.ittybit.com/proj_1/a.mp4"),
        (GET_JOB, "job_abc123", "https://store.ittybit.net/org_123/video.mp4"),
        (LEGACY_TASK, "task_123abc", None),
        (FILE, "file_123abc", "https://cdn.ittybit.com/proj_1/file_123abc.mp4"),
    ],
    ids=["flat", "envelope", "typed", "event", "job", "legacy", "file"],
)
def test_a_success_is_read_in_every_dialect(
    receiver: Running, ledger: Ledger, payload: dict[str, Any], task: str, url: str | None
) -> None:
    """The flat and the envelope form are the guides' own examples."""
    batch = submitted(ledger, task)
    answer = receiver.post(payload)
    assert (answer.status_code, answer.text) == (200, "applied")
    [row] = library.rows(ledger, batch)
    assert (row.state, row.task_id, row.output_url) == (JobState.SUCCEEDED, task, url)
    [kept] = deliveries(ledger)
    assert (kept.task_id, kept.verdict) == (task, "applied")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (payload("task-1", "failed", error="No such codec"), "No such codec"),
        (payload("task-1", "error", error={"message": "No such codec"}), "No such codec"),
        ({"event": "job.failed", "data": payload("task-1", "failed", error="Broken")}, "Broken"),
        ({"type": "job.failed", "data": payload("task-1", "?", error="Broken")}, "Broken"),
    ],
    ids=["text", "object", "envelope", "typed"],
)
def test_a_failure_is_read_with_its_reason(
    receiver: Running, ledger: Ledger, payload: dict[str, Any], reason: str
) -> None:
    """As text in one guide, as an object in another."""
    batch = submitted(ledger, "task-1")
    assert receiver.post(payload).text == "applied"
    [row] = library.rows(ledger, batch)
    assert (row.state, row.error_message) == (JobState.FAILED, reason)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b'{"status": "succeeded"}', b'"\x00"']
)
def test_what_cannot_be_read_but_is_signed_is_kept(
    receiver: Running, ledger: Ledger, body: bytes
) -> None:
    """To the byte, and answered 200: Ittybit sending it again would not make it better."""
    for _ in range(2):
        answer = receiver.post(body)
        assert (answer.status_code, answer.text) == (200, "malformed")
    [kept] = deliveries(ledger)
    assert (kept.task_id, kept.verdict, kept.times, kept.body) == ("", "malformed", 2, body)


def test_a_job_that_nobody_knows_is_kept(receiver: Running, ledger: Ledger) -> None:
    """It may be one whose submission's answer is still on its way."""
    answer = receiver.post(payload("task-of-somebody-else"))
    assert (answer.status_code, answer.text) == (200, "unknown")
    assert [row.verdict for row in deliveries(ledger)] == ["unknown"]


def test_news_of_progress_is_kept_and_changes_nothing(receiver: Running, ledger: Ledger) -> None:
    """A word that nobody has heard of means that the job still runs."""
    batch = submitted(ledger, "task-1")
    assert receiver.post(payload("task-1", "transmogrifying")).text == "progress"
    assert [row.state for row in library.rows(ledger, batch)] == [JobState.SUBMITTED]
