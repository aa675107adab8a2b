"""Results posted to the user's own address."""

import hashlib
import hmac
import threading
import time
from typing import Any

import flask
import pytest
from pydantic import ValidationError
from werkzeug.serving import make_server

from ittybatch.ittybit.webhook import parse_webhook
from ittybatch.sinks import http
from ittybatch.sinks.base import SinkUnavailable
from ittybatch.sinks.http import HttpOptions
from tests.sinks.conftest import SECRET, OpenHttp
from tests.sinks.results import accepted, errors, failed, succeeded
from tests.sinks.server import Address, Answer, Request


def test_a_result_is_posted_as_ittybit_posts_it(address: Address, open_http: OpenHttp) -> None:
    """Flat, signed, and with an id that is the same when it is delivered again."""
    sink = open_http()
    for _ in range(2):
        assert errors(sink.deliver([succeeded(7)])) == {7: None}
    first, again = address.requests
    expected = hmac.new(SECRET.encode(), first.body, hashlib.sha256).hexdigest()
    assert first.headers["Ittybit-Signature"] == expected
    assert first.headers["X-Ittybatch-Delivery"] == again.headers["X-Ittybatch-Delivery"] == "7"
    assert first.headers["Content-Type"] == "application/json"
    assert (first.path, first.body) == ("/hooks/results", again.body)
    assert first.json == {
        "id": "task-7",
        "status": "succeeded",
        "kind": "video",
        "input": "s3://media/in/7.mov",
        "output": {
            "url": "https://cdn.test/7.mp4",
            "format": "mp4",
            "width": 1280,
            "height": 720,
            "duration": 124.5,
            "size": 48_230_912,
        },
        "metadata": {"media_id": "m7"},
        "created_at": 1_795_777_200_000,
        "completed_at": 1_795_777_204_500,
        "job_id": "7",
        "batch_id": "batch-1",
        "profile": "web",
        "rendition": "sd",
        "destination": None,
    }


def test_a_failure_has_its_reason_where_each_guide_looks(
    address: Address, open_http: OpenHttp
) -> None:
    """As text in the flat form, and as an object with a message in the others."""
    for form in ("flat", "completed", "envelope"):
        open_http(form=form).deliver([failed(1)])
    flat, completed, envelope = (request.json for request in address.requests)
    assert (flat["status"], flat["error"]) == ("failed", "no video stream")
    assert completed["error"]["message"] == "no video stream"
    assert envelope["event"] == "job.failed"
    assert envelope["data"]["error"]["message"] == "no video stream"
    assert "output" not in flat


def test_a_job_that_was_given_up_is_a_failed_one(address: Address, open_http: OpenHttp) -> None:
    """Readers of Ittybit's webhooks would take `expired` for still running."""
    given = [failed(1, None, status="expired", error_kind=None)]
    for form in ("flat", "envelope"):
        open_http(form=form).deliver(given)
    flat, envelope = (request.json for request in address.requests)
    assert (flat["status"], flat["error"]) == ("failed", "The job ended as expired.")
    assert envelope["data"]["error"]["kind"] == "expired"
    assert envelope["event"] == "job.failed"


def test_success_is_spelt_as_the_form_says(address: Address, open_http: OpenHttp) -> None:
    """Guides differ: `succeeded` in one, `completed` in others."""
    for form in ("completed", "envelope"):
        open_http(form=form).deliver([succeeded(1)])
    completed, envelope = (request.json for request in address.requests)
    assert completed["status"] == envelope["data"]["status"] == "completed"
    assert envelope["event"] == "job.succeeded"
    assert envelope["data"]["duration_ms"] == 4500


@pytest.mark.parametrize("form", ["flat", "completed", "envelope"])
def test_our_own_reader_of_webhooks_reads_it(
    form: str, address: Address, open_http: OpenHttp
) -> None:
    """So will any reader written for Ittybit."""
    open_http(form=form).deliver([succeeded(1), failed(2), accepted(3)])
    jobs = {
        event.job.id: event.job
        for event in (parse_webhook(request.body) for request in address.requests)
    }
    assert [jobs[f"task-{n}"].status.value for n in (1, 2, 3)] == [
        "succeeded",
        "failed",
        "running",
    ]
    assert jobs["task-1"].outputs[0].url == "https://cdn.test/1.mp4"
    assert jobs["task-2"].error is not None
    assert jobs["task-2"].error.message == "no video stream"


def test_the_bytes_are_those_that_javascript_would_write(
    address: Address, open_http: OpenHttp
) -> None:
    """The Express receiver of a guide signs `JSON.stringify(req.body)`, not what it received."""
    metadata = {"b": 2.0, "title": "Ærø/é", "10": 1, "2": {"x": [1.0, 0.5]}, "01": True}
    open_http().deliver([succeeded(1, duration_s=124.0, metadata=metadata)])
    [request] = address.requests
    assert b'"duration":124,' in request.body
    expected = '"metadata":{"2":{"x":[1,0.5]},"10":1,"b":2,"title":"Ærø/é","01":true}'
    assert expected.encode() in request.body


def test_the_flask_receiver_of_the_guide_verifies_it(
    open_http: OpenHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code, word for word; with another secret it answers 401, and the result waits."""
    printed: list[str] = []
    app = flask.Flask("guide")
    webhook_secret = SECRET

    @app.route("/webhooks/ittybit", methods=["POST"])
    def handle_webhook() -> tuple[str | flask.Response, int]:
        signature = flask.request.headers.get("Ittybit-Signature")
        computed = hmac.new(
            webhook_secret.encode(),
            flask.request.get_data(),
            hashlib.sha256,
        ).hexdigest()
        if not signature or not hmac.compare_digest(signature, computed):
            return "Invalid signature", 401
        task = flask.request.get_json()
        if task["status"] == "succeeded":
            printed.append(f"Task {task['id']} completed: {task['output']['url']}")
        else:
            printed.append(f"Task {task['id']} failed: {task.get('error')}")
        return flask.jsonify({"status": "ok"}), 200

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/webhooks/ittybit"
    try:
        monkeypatch.setenv("RESULTS_SECRET", SECRET)
        outcomes = errors(open_http(url, concurrency=1).deliver([succeeded(1), failed(2)]))
        assert outcomes == {1: None, 2: None}
        monkeypatch.setenv("RESULTS_SECRET", "another-secret")
        other = open_http(url)
        with pytest.raises(SinkUnavailable, match="HTTP 401: Invalid signature"):
            other.deliver([succeeded(3)])
        assert "HTTP 401" in str(other.check())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert printed == [
        "Task task-1 completed: https://cdn.test/1.mp4",
        "Task task-2 failed: no video stream",
    ]


def test_a_refused_result_does_not_stop_the_others(address: Address, open_http: OpenHttp) -> None:
    """Some of 4xx is for good; the beginning of the answer says why."""
    refusals = {f"task-{status}": status for status in (400, 409, 413, 415, 422)}
    address.answer = lambda request: (
        Answer(refusals[request.json["id"]], body=b'{"error":\n "no such media"}')
        if request.json["id"] in refusals
        else Answer()
    )
    given = [succeeded(1), *map(succeeded, refusals.values()), succeeded(999)]
    assert errors(open_http().deliver(given)) == {
        1: None,
        **{each: f'HTTP {each}: {{"error": "no such media"}}' for each in refusals.values()},
        999: None,
    }


@pytest.mark.parametrize(
    "status", [302, 401, 402, 403, 404, 405, 407, 408, 410, 421, 425, 429, 500, 502, 503]
)
def test_an_answer_that_may_change_makes_the_sink_unavailable(
    status: int, address: Address, open_http: OpenHttp
) -> None:
    """Nothing is refused; a redirect is not followed, because it may lead anywhere."""
    address.answer = lambda _: Answer(status, {"Location": f"{address.url}/elsewhere"})
    with pytest.raises(SinkUnavailable, match=f"HTTP {status}"):
        open_http().deliver([succeeded(1)])
    assert len(address.requests) == 1


def test_a_server_that_is_gone_makes_the_sink_unavailable_at_once(
    open_http: OpenHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after a connection for each of 500 results."""
    monkeypatch.setenv("RESULTS_SECRET", SECRET)
    began = time.monotonic()
    sink = open_http("http://127.0.0.1:1/hooks")
    with pytest.raises(SinkUnavailable, match=r"cannot post to http://127\.0\.0\.1:1/hooks"):
        sink.deliver([succeeded(n) for n in range(500)])
    assert time.monotonic() - began < 5
    assert "cannot post" in str(sink.check())


def test_a_slow_server_is_not_waited_for(address: Address, open_http: OpenHttp) -> None:
    """Its answer comes after the time limit."""
    address.answer = lambda _: Answer(after_s=1.5)
    with pytest.raises(SinkUnavailable, match=r"no answer within 0\.2 s"):
        open_http(timeout_s=0.2).deliver([succeeded(1)])


def test_retry_after_is_respected(address: Address, open_http: OpenHttp) -> None:
    """No request is sent before, whoever asks."""
    address.answer = lambda _: Answer(429, {"Retry-After": "1"})
    sink = open_http()
    for _ in range(3):
        with pytest.raises(SinkUnavailable):
            sink.deliver([succeeded(1)])
    assert len(address.requests) == 1
    address.answer = lambda _: Answer()
    time.sleep(1.1)
    assert errors(sink.deliver([succeeded(1)])) == {1: None}


def test_what_was_delivered_before_the_server_failed_is_not_sent_again(
    address: Address, open_http: OpenHttp
) -> None:
    """The rest has no outcome, and is delivered later."""
    address.answer = lambda request: Answer(503) if int(request.json["job_id"]) >= 3 else Answer()
    outcomes = errors(open_http(concurrency=1).deliver([succeeded(n) for n in range(1, 9)]))
    assert outcomes == {1: None, 2: None}
    assert len(address.requests) == 3


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(404), "HTTP 404"),
        (Answer(500), "HTTP 500"),
        (Answer(502), "HTTP 502"),
        (Answer(after_s=0.5), "no answer within 0.2 s"),
    ],
)
def test_one_result_that_the_server_always_fails_with_is_refused_in_the_end(
    answer: Answer,
    reason: str,
    address: Address,
    open_http: OpenHttp,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bug of the app must not hold all other results back. An outage does not count."""
    monkeypatch.setattr(http, "_MOST_FAILURES", 3)
    address.answer = lambda request: answer if request.json["id"] == "task-1" else Answer()
    sink = open_http(timeout_s=0.2, concurrency=1)
    for _ in range(4):
        with pytest.raises(SinkUnavailable, match=reason):
            sink.deliver([succeeded(1)])
    for number in (2, 3):
        assert errors(sink.deliver([succeeded(1), succeeded(number)])) == {number: None}
    assert errors(sink.deliver([succeeded(1), succeeded(4)])) == {
        1: f"{reason} (3 times, while others were taken)",
        4: None,
    }


def test_a_server_that_sheds_load_refuses_nothing(
    address: Address, open_http: OpenHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 and 429 concern all results, whichever they meet."""
    monkeypatch.setattr(http, "_MOST_FAILURES", 1)
    address.answer = lambda request: Answer(503 if request.json["id"] == "task-1" else 200)
    assert errors(open_http().deliver([succeeded(1), succeeded(2)])) == {2: None}


def test_results_of_one_job_come_in_order_and_others_at_once(
    address: Address, open_http: OpenHttp
) -> None:
    """At most `concurrency` requests at once."""
    address.answer = lambda _: Answer(after_s=0.02)
    given = [
        result
        for job in range(12)
        for result in (
            accepted(job * 2, job_id=job, task_id=f"task-{job}"),
            succeeded(job * 2 + 1, job_id=job, task_id=f"task-{job}"),
        )
    ]
    assert set(errors(open_http(concurrency=4).deliver(given)).values()) == {None}
    assert address.most_at_once == 4
    for job in range(12):
        seen = [each.json["status"] for each in address.requests if each.json["job_id"] == str(job)]
        assert seen == ["processing", "succeeded"]


def test_a_later_result_waits_for_an_earlier_one_of_its_job(
    address: Address, open_http: OpenHttp
) -> None:
    """Or the app would go back to an earlier state."""

    def answer(request: Request) -> Answer:
        return Answer(500 if request.json["status"] == "processing" else 200)

    address.answer = answer
    given = [accepted(1, job_id=1), succeeded(2, job_id=1), succeeded(3, job_id=3)]
    assert errors(open_http().deliver(given)) == {3: None}


def test_only_chosen_results_are_posted(address: Address, open_http: OpenHttp) -> None:
    """Others count as delivered."""
    sink = open_http(only={"status": ["failed"], "metadata.media_id": ["m2"]})
    assert errors(sink.deliver([succeeded(1), failed(2), failed(3)])) == {
        1: None,
        2: None,
        3: None,
    }
    assert [request.json["id"] for request in address.requests] == ["task-2"]


def test_headers_may_refer_to_variables(
    address: Address, open_http: OpenHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateways want a token; no error shows it."""
    monkeypatch.setenv("APP_TOKEN", "token-of-the-app")
    address.answer = lambda request: Answer(400, body=request.headers["Authorization"].encode())
    sink = open_http(headers={"Authorization": "Bearer ${APP_TOKEN}"})
    [error] = errors(sink.deliver([succeeded(1)])).values()
    assert address.requests[0].headers["Authorization"] == "Bearer token-of-the-app"
    assert "token-of-the-app" not in str(error)


def test_an_address_in_a_variable_is_never_shown(
    open_http: OpenHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may contain a key."""
    monkeypatch.setenv("RESULTS_SECRET", SECRET)
    monkeypatch.setenv("RESULTS_URL", "http://127.0.0.1:1/hooks/key-of-the-app")
    sink = open_http()
    with pytest.raises(SinkUnavailable) as caught:
        sink.deliver([succeeded(1)])
    assert "key-of-the-app" not in str(caught.value)
    assert "${RESULTS_URL}" in str(caught.value)


def test_the_check_posts_a_signed_test_without_a_job(
    address: Address, open_http: OpenHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app that fails with it is reachable all the same."""
    for status in (200, 400, 500):
        address.answer = lambda _, status=status: Answer(status)  # type: ignore[misc]
        assert open_http().check() is None
    assert address.requests[0].body == b'{"ittybatch_check":"app"}'
    address.answer = lambda _: Answer(404)
    assert "HTTP 404" in str(open_http().check())
    monkeypatch.delenv("RESULTS_SECRET")
    assert "RESULTS_SECRET" in str(open_http().check())
    monkeypatch.setenv("RESULTS_SECRET", "short")
    assert "fewer than 6 characters" in str(open_http().check())
    monkeypatch.setenv("RESULTS_SECRET", SECRET)
    monkeypatch.setenv("RESULTS_URL", "ftp://app")
    assert "http:// or https://" in str(open_http().check())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"secret": "hunter22"}, "a secret does not belong into this file"),
        ({"url": "ftp://app/hook"}, "begins with http:// or https://"),
        ({"url": "https://user:hunter22@app/hook"}, "it holds a password"),
        ({"headers": {"Ittybit-Signature": "x"}}, "cannot be set as a header"),
        ({"headers": {"Authorization": "Bearer hunter22"}}, "is a secret"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "no header may have"),
        ({"form": "xml"}, "form"),
        ({"concurrency": 1000}, "concurrency"),
    ],
)
def test_what_cannot_work_is_refused_when_the_file_is_read(
    change: dict[str, Any], message: str
) -> None:
    """Without repeating a secret."""
    options = {"name": "app", "kind": "http", "url": "${URL}", "secret": "${SECRET}", **change}
    with pytest.raises(ValidationError) as caught:
        HttpOptions.model_validate(options)
    assert message in str(caught.value)
    assert "hunter22" not in str(caught.value)
