"""Reading deliveries: every shape, and every kind of rubbish."""

import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ittybatch.ittybit.job import JobError, JobStatus
from ittybatch.ittybit.webhook import MalformedWebhook, WebhookEvent, parse_webhook
from tests.ittybit import samples
from tests.ittybit.test_job import PAYLOADS


def parsed(payload: object) -> WebhookEvent:
    return parse_webhook(orjson.dumps(payload))


def test_a_flat_job_names_no_event() -> None:
    """The guides' shape: the body is the job."""
    delivery = parsed(samples.FLAT)
    assert (delivery.event_id, delivery.event) == (None, None)
    assert delivery.job.id == "task_a1b2c3d4"
    assert delivery.job.status is JobStatus.SUCCEEDED


def test_a_job_comes_under_data_beside_its_event() -> None:
    """The AWS guide's shape, which calls success `completed`."""
    delivery = parsed(samples.ENVELOPE)
    assert delivery.event == "job.succeeded"
    assert delivery.event_id is None
    assert delivery.job.id == "task_abc123"
    assert delivery.job.status is JobStatus.SUCCEEDED
    assert delivery.job.raw_status == "completed"
    assert delivery.job.metadata["source_key"] == "uploads/video.mov"
    assert [output.url for output in delivery.job.outputs] == [
        "https://cdn.ittybit.com/abc/video.mp4"
    ]


def test_a_typed_job_needs_no_status() -> None:
    """The Inngest guide reads `type` alone."""
    delivery = parsed({"type": "job.failed", "id": "job_1", "error": "Could not decode"})
    assert delivery.event == "job.failed"
    assert delivery.job.status is JobStatus.FAILED
    assert delivery.job.error == JobError(None, "Could not decode")


def test_a_typed_job_may_come_under_data() -> None:
    """`type` in place of `event`."""
    delivery = parsed({"type": "job.succeeded", "id": "evt_9", "data": {"id": "job_1"}})
    assert delivery == WebhookEvent("evt_9", "job.succeeded", delivery.job)
    assert delivery.job.id == "job_1"
    assert delivery.job.status is JobStatus.SUCCEEDED


def test_an_event_object_has_an_id_of_its_own() -> None:
    """The third generation names its event in `kind`."""
    delivery = parsed(samples.EVENT)
    assert delivery.event_id == "evt_01h455"
    assert delivery.event == "task.succeeded"
    assert delivery.job.id == "task_01h455"
    assert delivery.job.kind == "video"


def test_a_task_of_the_second_generation_is_read() -> None:
    """Flat, with `completed` for success."""
    delivery = parsed(samples.LEGACY_TASK)
    assert delivery.event is None
    assert delivery.job.kind == "nsfw"
    assert delivery.job.status is JobStatus.SUCCEEDED


def test_a_file_is_read_as_a_job_that_is_ready() -> None:
    """A MIME type in `type` is no event."""
    delivery = parsed(samples.FILE)
    assert delivery.event is None
    assert delivery.job.status is JobStatus.SUCCEEDED


def test_the_first_generation_is_unwrapped() -> None:
    """`data` beside `meta` and `links`, and no event."""
    delivery = parsed(samples.FIRST_GENERATION)
    assert delivery.event is None
    assert delivery.job.status is JobStatus.FAILED


@pytest.mark.parametrize("error", ["It broke", {"message": "It broke"}])
def test_a_failure_tells_why(error: object) -> None:
    """As text in one guide, as an object in another."""
    delivery = parsed({"id": "task_1", "status": "failed", "error": error})
    assert delivery.job.status is JobStatus.FAILED
    assert delivery.job.error == JobError(None, "It broke")


def test_an_events_name_outranks_the_status() -> None:
    """The event's name takes precedence; the raw status is kept."""
    delivery = parsed({"event": "job.failed", "data": {"id": "job_1", "status": "processing"}})
    assert delivery.job.status is JobStatus.FAILED
    assert delivery.job.raw_status == "processing"


@pytest.mark.parametrize("event", ["task.created", "task.updated", "media.created"])
def test_an_event_that_ends_nothing_leaves_the_status_alone(event: str) -> None:
    """An update is as terminal as the job in it."""
    running = parsed({"event": event, "data": {"id": "job_1", "status": "processing"}})
    assert running.job.status is JobStatus.RUNNING
    ended = parsed({"event": event, "data": {"id": "job_1", "status": "completed"}})
    assert ended.job.status is JobStatus.SUCCEEDED


def test_a_medium_as_kind_is_no_event() -> None:
    """`kind` means two things; only an event has a dot in it."""
    assert parsed({"id": "job_1", "kind": "adaptive_video"}).event is None


def test_a_flat_job_may_carry_data_of_its_own() -> None:
    """`data` beside a status is not a wrapper."""
    delivery = parsed({"id": "job_1", "status": "failed", "data": {"id": "other"}})
    assert delivery.job.id == "job_1"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"id": NaN}', "no job"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"job_1"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "no job"),
        (b'{"event": "job.succeeded", "data": {}}', "no job"),
        (b'{"event": "job.succeeded", "data": null}', "no job"),
    ],
)
def test_rubbish_is_malformed(body: bytes, why: str) -> None:
    """Each says what is wrong with it."""
    with pytest.raises(MalformedWebhook, match=why):
        parse_webhook(body)


def test_figures_beyond_64_bits_do_no_harm() -> None:
    """They are left out like any invalid value."""
    body = b'{"id":"job_1","created_at":' + b"9" * 400 + b',"output":{"url":"https://a/b","size":'
    try:
        delivery = parse_webhook(body + b"9" * 300 + b"}}")
    except MalformedWebhook:
        return
    assert delivery.job.created_at is None
    assert delivery.job.outputs[0].size_bytes is None


def _dumped(payload: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(payload)
    except TypeError:  # a surrogate, or a number beyond 64 bits
        return b"{}"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | PAYLOADS.map(_dumped))
def test_nothing_but_malformed_ever_comes_out(body: bytes) -> None:
    """Whatever arrives, parsing raises only this error."""
    try:
        delivery = parse_webhook(body)
    except MalformedWebhook:
        return
    assert delivery.job.id


def test_reading_keeps_up_with_the_receiver() -> None:
    """At 8,000 deliveries a second on a core, reading may take a fraction of 125 us."""
    body = orjson.dumps(samples.FLAT)
    best_s = min(_timed_s(body) for _ in range(20))
    assert best_s < 60e-6


def _timed_s(body: bytes) -> float:
    started = time.perf_counter()
    for _ in range(100):
        parse_webhook(body)
    return (time.perf_counter() - started) / 100
