"""Submitting a job over a real connection."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from ittybatch.ittybit.errors import (
    AuthenticationError,
    InvalidRequest,
    IttybitConnectionError,
    IttybitError,
    IttybitTimeout,
    KeyConflict,
    NotFound,
    PaymentRequired,
    RateLimited,
    Redirected,
    ServerError,
    UnreadableAnswer,
)
from ittybatch.ittybit.job import JobStatus
from tests.ittybit.api import (
    DROP,
    HANG,
    IDEMPOTENCY_KEY,
    JOB,
    KEY,
    TRUNCATED,
    Api,
    api,
    reply,
    submission,
)


async def _submitted(
    answering: Api,
    **client: Any,  # noqa: ANN401 - the arguments of the client
) -> IttybitError | None:
    """The error that a submission ends in, if any."""
    async with answering.client(**client) as ittybit:
        try:
            await ittybit.create_job(**submission())
        except IttybitError as error:
            return error
    return None


def outcome(
    *replies: bytes,
    **client: Any,  # noqa: ANN401 - the arguments of the client
) -> tuple[IttybitError | None, Api]:
    async def main() -> tuple[IttybitError | None, Api]:
        async with api(*replies) as answering:
            return await _submitted(answering, **client), answering

    return asyncio.run(main())


def test_a_job_goes_out_as_the_guides_send_it() -> None:
    """Bearer token, JSON, the connection among the options, the webhook per job."""

    async def main() -> None:
        async with api(reply(201, {"id": "task_abc123", "status": "pending"})) as answering:
            async with answering.client() as ittybit:
                job = await ittybit.create_job(
                    **submission(
                        connection_id="conn_abc123",
                        output="s3://my-media-bucket/out/video.mp4",
                        webhook_url="https://xyz.lambda-url.us-east-1.on.aws/webhook",
                    )
                )
            assert (job.id, job.status, job.raw_status) == (
                "task_abc123",
                JobStatus.RUNNING,
                "pending",
            )
            [request] = answering.seen
            assert (request.method, request.target) == ("POST", "/jobs")
            assert request.headers["authorization"] == f"Bearer {KEY}"
            assert request.headers["content-type"] == "application/json"
            assert request.headers["idempotency-key"] == IDEMPOTENCY_KEY
            assert request.headers["user-agent"].startswith("ittybatch/")
            assert request.headers["host"] == f"127.0.0.1:{answering.port}"
            assert request.json == {
                "input": "s3://my-media-bucket/uploads/video.mov",
                "kind": "video",
                "options": {
                    "connection_id": "conn_abc123",
                    "width": 1920,
                    "format": "mp4",
                    "quality": "high",
                },
                "output": "s3://my-media-bucket/out/video.mp4",
                "webhook_url": "https://xyz.lambda-url.us-east-1.on.aws/webhook",
                "metadata": {"source_bucket": "my-media-bucket"},
            }

    asyncio.run(main())


def test_what_is_not_set_is_not_sent() -> None:
    """And a connection among the options outranks the client's."""

    async def main() -> None:
        async with api(reply(201, JOB)) as answering, answering.client() as ittybit:
            await ittybit.create_job(**submission())
            options = {"connection_id": "conn_own"}
            await ittybit.create_job(**submission(options=options, connection_id="conn_other"))
            first, second = answering.seen
            assert set(first.json) == {"input", "kind", "options", "metadata"}
            assert "connection_id" not in first.json["options"]
            assert second.json["options"] == {"connection_id": "conn_own"}

    asyncio.run(main())


def test_the_same_job_is_the_same_bytes() -> None:
    """A key stands for one body, in whatever order a restarted process builds it."""

    async def main() -> None:
        async with api(reply(201, JOB)) as answering, answering.client() as ittybit:
            await ittybit.create_job(**submission(metadata={"a": 1, "b": 2}))
            await ittybit.create_job(**submission(metadata={"b": 2, "a": 1}))
            assert answering.seen[0].body == answering.seen[1].body

    asyncio.run(main())


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_replayed_job_is_as_good_as_a_new_one(status: int) -> None:
    """A key that is sent again is answered with 200 in place of 201."""
    error, answering = outcome(reply(status, JOB))
    assert error is None
    assert len(answering.seen) == 1


def test_a_wrapped_job_is_accepted() -> None:
    """The oldest answers hold it in `data`."""
    error, _ = outcome(reply(201, {"meta": {}, "data": JOB, "error": None, "links": {}}))
    assert error is None


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_input", InvalidRequest),
        (401, "token_invalid", AuthenticationError),
        (402, "payment_required", PaymentRequired),
        (403, "project_required", AuthenticationError),
        (404, "job_not_found", NotFound),
        (405, "method_not_allowed", InvalidRequest),
        (409, "idempotency_conflict", KeyConflict),
        (413, "too_large", InvalidRequest),
        (422, "request_invalid", InvalidRequest),
    ],
)
def test_a_refusal_is_never_repeated(status: int, kind: str, expected: type[IttybitError]) -> None:
    """The error has Ittybit's kind and message; a retry would fail the same way."""
    error, answering = outcome(reply(status, {"kind": kind, "message": "Because."}))
    assert type(error) is expected
    assert (error.status, error.kind) == (status, kind)
    assert f"{status} {kind}: Because." in str(error)
    assert "Because" in error.body
    assert len(answering.seen) == 1
    assert error.outcome_unknown is (status == 409)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "Of old"}, "Of old"),
        ({"meta": {}, "data": None, "error": {"message": "Older"}, "links": {}}, "Older"),
        ({"error": "Text"}, "Text"),
        (b"Plain text", "Plain text"),
        (b"<html>A proxy's page</html>", "Bad Request"),
        (b"", "Bad Request"),
        (b"\xff\xfe", "\ufffd"),
        ([], "Bad Request"),
    ],
)
def test_a_refusals_message_is_found_in_any_body(body: object, said: str) -> None:
    """From every version of the API, and from proxies."""
    error, _ = outcome(reply(400, body))
    assert error is not None
    assert said in error.message


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_repeated_under_the_same_key(status: int) -> None:
    """The body and the key are the same bytes in every try."""
    error, answering = outcome(reply(status), reply(status), reply(201, JOB))
    assert error is None
    assert len(answering.seen) == 3
    assert {request.headers["idempotency-key"] for request in answering.seen} == {IDEMPOTENCY_KEY}
    assert len({request.body for request in answering.seen}) == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (reply(429), RateLimited),
        (reply(503), ServerError),
        (reply(408), ServerError),
        (DROP, IttybitConnectionError),
        (HANG, IttybitTimeout),
        (b"nonsense\r\n\r\n", IttybitConnectionError),
        (TRUNCATED, IttybitConnectionError),
        (reply(201, b"<html>"), UnreadableAnswer),
        (reply(201, {}), UnreadableAnswer),
        (reply(201, []), UnreadableAnswer),
        (reply(204, b""), UnreadableAnswer),
    ],
)
def test_every_fault_is_told_apart_and_tried_so_often(
    fault: bytes, expected: type[IttybitError]
) -> None:
    """Only a 429 leaves no doubt that nothing was accepted."""
    error, answering = outcome(fault, attempts=2, timeout_s=0.3 if fault == HANG else 5)
    assert type(error) is expected
    assert error is not None
    assert len(answering.seen) == 2
    assert error.outcome_unknown is (expected is not RateLimited)


def test_a_broken_answer_is_followed_by_a_good_one() -> None:
    """A connection that breaks, a proxy's page, and then the job."""
    error, answering = outcome(DROP, reply(200, b"<html>"), reply(200, JOB))
    assert error is None
    assert len(answering.seen) == 3


def test_nobody_listening_is_a_connection_error() -> None:
    """It names the host and what to check."""

    async def main() -> IttybitError | None:
        async with api(reply(201, JOB)) as answering:
            pass
        return await _submitted(answering, attempts=2)

    error = asyncio.run(main())
    assert type(error) is IttybitConnectionError
    assert "127.0.0.1" in str(error)
    assert "ITTYBIT_API_URL" in str(error)


@pytest.mark.parametrize("last", [429, 401, 402, 400])
def test_a_lost_answer_is_remembered_through_later_refusals(last: int) -> None:
    """The first try may have been accepted, whatever became of the second."""
    error, answering = outcome(DROP, reply(last), attempts=2)
    assert error is not None
    assert error.status == last
    assert error.outcome_unknown
    assert len(answering.seen) == 2


def test_refusals_alone_leave_no_doubt() -> None:
    """Turned away five times is still turned away."""
    error, answering = outcome(reply(429))
    assert isinstance(error, RateLimited)
    assert not error.outcome_unknown
    assert len(answering.seen) == 5


def test_one_attempt_means_one() -> None:
    """Nothing is repeated behind the caller's back."""
    error, answering = outcome(reply(503), attempts=1)
    assert isinstance(error, ServerError)
    assert len(answering.seen) == 1


def _waits(*headers: str | None, cap_s: float, initial_s: float = 0.001) -> list[float]:
    waits: list[float] = []
    replies = [reply(429, headers={"Retry-After": told} if told else None) for told in headers]
    error, _ = outcome(
        *replies,
        reply(201, JOB),
        retry_wait_initial_s=initial_s,
        retry_wait_cap_s=cap_s,
        on_retry=lambda _, wait_s: waits.append(wait_s),
    )
    assert error is None
    return waits


def test_the_wait_is_what_ittybit_asks_for() -> None:
    """In seconds, whole or not."""
    waits = _waits("0.2", cap_s=60)
    assert waits == [pytest.approx(0.2, abs=0.01)]


def test_the_wait_may_be_asked_for_as_a_date() -> None:
    """Until then, and not at all if it has passed."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    [wait_s] = _waits(soon, cap_s=60)
    assert 0 < wait_s <= 2.01
    [wait_s] = _waits("Wed, 21 Oct 2015 07:28:00 GMT", cap_s=60)
    assert wait_s < 0.01


@pytest.mark.parametrize("asked", ["86400", "9" * 30, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_the_wait_has_a_cap(asked: str) -> None:
    """A server cannot make the process wait longer."""
    assert _waits(asked, cap_s=0.05) == [0.05]


@pytest.mark.parametrize("odd", ["soon", "-1", "nan", "Wed, 99 Oct", "é"])
def test_an_odd_wait_is_ignored(odd: str) -> None:
    """The client's own backoff holds then."""
    [wait_s] = _waits(odd.encode("latin-1", "replace").decode("latin-1"), cap_s=0.05)
    assert wait_s <= 0.001


def test_waits_grow_and_are_spread() -> None:
    """Twice as long each time, somewhere in the upper half, and never beyond the cap."""
    waits = _waits(None, None, None, None, initial_s=0.01, cap_s=0.03)
    for wait_s, longest_s in zip(waits, (0.01, 0.02, 0.03, 0.03), strict=True):
        assert longest_s / 2 <= wait_s <= longest_s


def test_what_was_asked_for_stays_on_the_error() -> None:
    """So that a scheduler can come back when it makes sense."""
    error, _ = outcome(reply(429, headers={"Retry-After": "3600"}), attempts=2)
    assert error is not None
    assert error.retry_after_s == 3600


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:1/", "mailto:x", "x:y", "http://[::1", "//", ""]
)
def test_a_redirect_is_not_followed(location: str) -> None:
    """The key goes to the configured address alone, also if the target is no URL."""
    error, answering = outcome(reply(308, headers={"Location": location}))
    assert type(error) is Redirected
    assert "ITTYBIT_API_URL" in str(error)
    assert len(answering.seen) == 1


@pytest.mark.parametrize("key", ["", "short", "x" * 33, "0123456789abcde\n", "é" * 20, "a b" * 8])
def test_a_key_that_the_api_would_refuse_is_not_sent(key: str) -> None:
    """A dashed UUID, at 36 characters, is the usual mistake."""

    async def main() -> None:
        async with api(reply(201, JOB)) as answering, answering.client() as ittybit:
            with pytest.raises(InvalidRequest, match="16 to 32"):
                await ittybit.create_job(**submission(idempotency_key=key))
            assert answering.seen == []

    asyncio.run(main())


@pytest.mark.parametrize("metadata", [{"when": object()}, {"n": 2**70}, {1: 2}, {"s": "\ud800"}])
def test_metadata_that_is_no_json_is_refused_here(metadata: dict[Any, Any]) -> None:
    """With the item's name, so that one bad row does not stop a batch."""

    async def main() -> None:
        async with api(reply(201, JOB)) as answering, answering.client() as ittybit:
            with pytest.raises(InvalidRequest, match=r"uploads/video\.mov"):
                await ittybit.create_job(**submission(metadata=metadata))
            assert answering.seen == []

    asyncio.run(main())


def test_connections_are_kept_and_bounded() -> None:
    """A hundred jobs at once go over a few connections."""

    async def main() -> None:
        async with api(reply(201, JOB)) as answering, answering.client(max_connections=4) as client:
            await asyncio.gather(*[client.create_job(**submission()) for _ in range(100)])
            assert len(answering.seen) == 100
            assert answering.connections <= 4

    asyncio.run(main())


def test_a_cancelled_submission_ends_at_once() -> None:
    """A leg that is stopped does not wait for answers, nor repeats anything."""

    async def main() -> None:
        async with api(HANG) as answering, answering.client() as ittybit:
            task = asyncio.create_task(ittybit.create_job(**submission()))
            async with asyncio.timeout(5):
                await answering.arrived.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert len(answering.seen) == 1

    asyncio.run(main())
