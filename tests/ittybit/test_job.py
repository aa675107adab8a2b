"""Reading a job: every dialect, and every odd shape."""

import math
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ittybatch.ittybit.job import Job, JobError, JobStatus, Output, UnreadableJob, read_job
from tests.ittybit import samples
from tests.ittybit.samples import utc

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["succeeded", "failed", "job.failed", "evt_1", "2025-08-20T10:00:00Z"])
)
FIELDS = st.sampled_from(
    [
        "id", "object", "status", "kind", "type", "event", "data", "input", "inputs", "output",
        "outputs", "output_url", "url", "error", "message", "tasks", "metadata", "created_at",
        "created", "started_at", "completed_at", "finished_at", "duration", "size", "width",
    ]
)  # fmt: skip
PAYLOADS = st.dictionaries(
    FIELDS,
    SCALARS
    | st.lists(SCALARS, max_size=2)
    | st.dictionaries(FIELDS, SCALARS | st.lists(SCALARS, max_size=2), max_size=5)
    | st.lists(st.dictionaries(FIELDS, SCALARS, max_size=5), max_size=2),
    max_size=6,
)
HUGE = pytest.param(10**5000, id="huge")


def job_with(**fields: object) -> Job:
    return read_job({"id": "job_1", "status": "failed", **fields})


def test_the_current_job_object_is_read_in_full() -> None:
    """`GET /jobs/{id}` gives strings for input and output, and milliseconds."""
    job = read_job(samples.GET_JOB)
    url = "https://store.ittybit.net/org_123/video.mp4"
    assert job == Job(
        id="job_abc123",
        status=JobStatus.SUCCEEDED,
        raw_status="succeeded",
        kind="video",
        input="https://example.com/video.mp4",
        outputs=(Output(url, None, None, None, None, None, {"url": url}),),
        error=None,
        metadata={},
        created_at=utc(2024, 3, 31, 15, 46, 40),
        started_at=utc(2024, 3, 31, 15, 46, 41),
        finished_at=utc(2024, 3, 31, 15, 47, 25),
        raw=samples.GET_JOB,
    )


def test_a_flat_job_tells_what_its_output_is() -> None:
    """The guides' webhook describes its one output."""
    job = read_job(samples.FLAT)
    assert job.status is JobStatus.SUCCEEDED
    assert job.outputs == (
        Output(
            url="https://cdn.ittybit.com/clippable/export-38271.mp4",
            format="mp4",
            width=1920,
            height=1080,
            duration_s=124.5,
            size_bytes=48230912,
            raw=samples.FLAT["output"],
        ),
    )
    assert job.created_at == utc(2026, 4, 3, 10, 30)
    assert job.finished_at == utc(2026, 4, 3, 10, 31, 14)


def test_a_task_that_was_just_created_is_running() -> None:
    """Its input is an object, and its times are null until they are reached."""
    job = read_job(samples.CREATE_TASK)
    assert job.status is JobStatus.RUNNING
    assert not job.status.terminal
    assert job.raw_status == "waiting"
    assert job.input == "https://example.com/video.mp4"
    assert job.outputs == ()
    assert job.started_at is None
    assert job.finished_at is None


def test_a_run_of_the_third_generation_has_lists_and_seconds() -> None:
    """`inputs[]`, `outputs[]`, and times in seconds."""
    job = read_job(samples.EVENT["data"])
    assert job.input == "https://example.com/a.mov"
    assert [output.url for output in job.outputs] == [
        "https://cdn.ittybit.com/proj_1/a.mp4",
        "https://cdn.ittybit.com/proj_1/b.webm",
    ]
    assert job.created_at == utc(2024, 12, 31, 23, 50)
    assert job.metadata == {"media_id": "42"}


def test_a_task_of_the_second_generation_has_iso_times() -> None:
    """`created` and `completed` are ISO 8601, and success is `completed`."""
    job = read_job(samples.LEGACY_TASK)
    assert job.status is JobStatus.SUCCEEDED
    assert job.raw_status == "completed"
    assert job.created_at == utc(2025, 8, 20, 10)
    assert job.finished_at == utc(2025, 8, 20, 10, 0, 5, 250_000)
    assert job.raw["results"] == {"safe": True}


def test_a_file_is_its_own_output() -> None:
    """The second generation's automations send the file that was made."""
    job = read_job(samples.FILE)
    assert job.status is JobStatus.SUCCEEDED
    assert job.input is None
    assert [output.url for output in job.outputs] == [samples.FILE["url"]]
    assert job.outputs[0].size_bytes == 1234
    assert job.outputs[0].duration_s == 12
    assert job.created_at == utc(2025, 8, 20, 8)


def test_the_first_generation_wraps_its_task() -> None:
    """`{meta, data, error, links}` holds the task in `data`."""
    job = read_job(samples.FIRST_GENERATION)
    assert job.id == "tsk_123"
    assert job.status is JobStatus.FAILED
    assert job.error == JobError(None, "Could not decode the input")


def test_a_job_is_found_inside_an_event() -> None:
    """An event has an id of its own, which is not the job's."""
    assert read_job(samples.EVENT).id == "task_01h455"


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("succeeded", JobStatus.SUCCEEDED),
        ("completed", JobStatus.SUCCEEDED),
        ("ready", JobStatus.SUCCEEDED),
        (" Completed ", JobStatus.SUCCEEDED),
        ("failed", JobStatus.FAILED),
        ("error", JobStatus.FAILED),
        ("cancelled", JobStatus.CANCELLED),
        ("canceled", JobStatus.CANCELLED),
        *((word, JobStatus.RUNNING) for word in ("queued", "processing", "pending", "waiting")),
        *((word, JobStatus.RUNNING) for word in ("validating", "finishing", "", "tomorrow's")),
    ],
)
def test_every_status_word_has_a_meaning(word: str, status: JobStatus) -> None:
    """Words nobody has heard of mean running; the word itself is kept."""
    job = job_with(status=word)
    assert job.status is status
    assert job.raw_status == word


@pytest.mark.parametrize("status", [None, 3, True, ["succeeded"], {"a": 1}, HUGE])
def test_a_status_that_is_no_word_means_running(status: object) -> None:
    """A job taken for finished by mistake would be lost."""
    assert job_with(status=status).status is JobStatus.RUNNING


@pytest.mark.parametrize(
    ("fields", "urls"),
    [
        ({"output": "https://a/1.mp4"}, ["https://a/1.mp4"]),
        ({"output": {"url": "https://a/1.mp4"}}, ["https://a/1.mp4"]),
        ({"output": ["https://a/1.mp4", {"url": "https://a/2.mp4"}]},
         ["https://a/1.mp4", "https://a/2.mp4"]),
        ({"output": None, "output_url": "https://a/1.mp4"}, ["https://a/1.mp4"]),
        ({"outputs": [{"url": "https://a/1.mp4"}, {"object": "file"}, None, 7]},
         ["https://a/1.mp4"]),
        ({"output": {}}, []),
        ({"output": 7}, []),
        ({"output": "x" * 9000}, []),
    ],
)  # fmt: skip
def test_outputs_are_found_wherever_they_stand(fields: dict[str, Any], urls: list[str]) -> None:
    """What has no usable address is no output."""
    assert [output.url for output in job_with(**fields).outputs] == urls


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, None),
        ("", None),
        ({}, None),
        ([], None),
        (7, None),
        ("Could not decode the input", JobError(None, "Could not decode the input")),
        ("internal_error", JobError("internal_error", "internal_error")),
        ({"kind": "invalid_input", "message": "No such file"},
         JobError("invalid_input", "No such file")),
        ({"code": 404, "detail": "Gone"}, JobError("404", "Gone")),
        ({"kind": "internal_error"}, JobError("internal_error", "internal_error")),
        ({"odd": True}, JobError(None, "Ittybit gave no message.")),
        ([{"message": "First"}, {"message": "Second"}], JobError(None, "First")),
    ],
)  # fmt: skip
def test_errors_are_text_or_objects(error: object, expected: JobError | None) -> None:
    """One guide shows a string, another an object with a message."""
    assert job_with(error=error).error == expected


def test_the_error_of_a_nested_task_is_the_jobs_where_it_gives_none() -> None:
    """A job fails because one of its tasks did; the siblings are cancelled."""
    tasks = [
        {"id": "t1", "status": "succeeded", "error": None},
        {"id": "t2", "status": "failed", "error": {"kind": "internal_error", "message": "Oh"}},
        {"id": "t3", "status": "cancelled", "error": None},
    ]
    assert job_with(error=None, tasks=tasks).error == JobError("internal_error", "Oh")
    assert job_with(error=None, steps=tasks).error == JobError("internal_error", "Oh")
    assert job_with(status="succeeded", tasks=tasks).error is None


def test_a_signed_address_in_an_error_is_masked() -> None:
    """Whoever reads the error must not be able to fetch the input."""
    error = job_with(error="GET https://b.s3.aws/k?X-Amz-Signature=abc gave 403").error
    assert error == JobError(None, "GET https://b.s3.aws/k?[redacted] gave 403")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1775212200000, utc(2026, 4, 3, 10, 30)),
        (1775212200, utc(2026, 4, 3, 10, 30)),
        (1775212200.0, utc(2026, 4, 3, 10, 30)),
        ("1775212200000", utc(2026, 4, 3, 10, 30)),
        ("2026-04-03T10:30:00Z", utc(2026, 4, 3, 10, 30)),
        ("2026-04-03T12:30:00+02:00", utc(2026, 4, 3, 10, 30)),
        ("2026-04-03 10:30:00", utc(2026, 4, 3, 10, 30)),
        (0, datetime.fromtimestamp(0, UTC)),
        *((-1, None), (10**30, None), (math.nan, None), (math.inf, None), (1e18, None)),
        *((True, None), ([], None), ("soon", None), ("nan", None), ("1e999", None), ("", None)),
        *(("0001-01-01T00:00:00+23:59", None), ("9" * 99, None)),
    ],
)
def test_times_are_read_in_every_unit(value: object, expected: datetime | None) -> None:
    """Milliseconds, seconds and ISO 8601 are told apart; what is none of them is no time."""
    assert job_with(created_at=value).created_at == expected


def test_an_absurd_time_is_no_time() -> None:
    """A number of thousands of digits cannot even be printed."""
    assert job_with(created_at=10**5000, started_at="9" * 5000).created_at is None


def test_a_later_spelling_is_used_where_the_first_is_null() -> None:
    """`finished_at` may stand where `completed_at` is null."""
    job = job_with(completed_at=None, finished_at=1775212200)
    assert job.finished_at == utc(2026, 4, 3, 10, 30)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, HUGE, "wide", True, [1], {}])
def test_figures_that_cannot_be_meant_are_left_out(value: object) -> None:
    """A database must be able to hold every figure."""
    described = {"url": "https://a/b", "width": value, "duration": value, "size": value}
    output = job_with(output=described).outputs[0]
    assert (output.width, output.duration_s, output.size_bytes) == (None, None, None)


def test_text_is_fit_for_a_database() -> None:
    """Postgres refuses NUL characters, and UTF-8 has no lone surrogates."""
    job = job_with(status="a\0b", error="x\0y\ud800", input="s3://b/\ud800é")
    assert job.raw_status == "a\ufffdb"
    assert job.error == JobError(None, "x\ufffdy?")
    assert job.input == "s3://b/?é"


def test_long_text_is_cut() -> None:
    """Nobody outside decides how much we store or log."""
    job = job_with(error="x" * 100_000, status="y" * 1000, kind="z" * 1000)
    assert job.error is not None
    assert len(job.error.message) == 2000
    assert len(job.raw_status) == 64
    assert job.kind is None


def test_the_number_of_outputs_is_bounded() -> None:
    """A hostile payload cannot fill the ledger."""
    assert len(job_with(output=["https://a/b"] * 5000).outputs) == 1000


def test_an_id_may_be_a_number() -> None:
    """Ids are opaque."""
    assert read_job({"id": 42}).id == "42"


@pytest.mark.parametrize(
    "payload",
    [
        {}, {"id": None}, {"id": ""}, {"id": " "}, {"id": True}, {"id": []}, {"id": "x" * 256},
        {"id": "a\0b"}, {"id": "a\nb"}, {"id": 10**30}, {"data": []}, {"data": {"data": {}}},
        [], None, "job_1", 7,
    ],
)  # fmt: skip
def test_a_payload_without_an_id_is_unreadable(payload: dict[str, Any]) -> None:
    """There is nothing to find the job by."""
    with pytest.raises(UnreadableJob, match="contains no job"):
        read_job(payload)


def test_wrappers_are_opened_only_so_far() -> None:
    """A payload nested for its own sake is given up."""
    payload: dict[str, Any] = {"id": "job_1"}
    for _ in range(5000):
        payload = {"data": payload}
    with pytest.raises(UnreadableJob):
        read_job(payload)


@settings(max_examples=300, deadline=None)
@given(PAYLOADS)
def test_no_payload_is_an_error_but_for_its_id(payload: dict[str, Any]) -> None:
    """Whatever is read can be stored: it is bounded, aware, and encodes."""
    payload = {"id": "job_1", **payload}
    try:
        job = read_job(payload)
    except UnreadableJob:
        return
    assert 0 < len(job.id) <= 255
    orjson.dumps([job.id, job.raw_status, job.kind, job.input, job.error])
    for moment in (job.created_at, job.started_at, job.finished_at):
        assert moment is None or moment.tzinfo is UTC
    for output in job.outputs:
        orjson.dumps([output.url, output.format, output.width, output.duration_s])
