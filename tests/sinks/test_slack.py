"""Messages about failed jobs in a Slack channel."""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from pydantic import ValidationError

from ittybatch.sinks import slack
from ittybatch.sinks.base import SinkUnavailable
from ittybatch.sinks.slack import SlackOptions, SlackSink
from tests.sinks.results import accepted, errors, failed, succeeded
from tests.sinks.server import Address, Answer, serving

Open: TypeAlias = Callable[..., SlackSink]


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    """Where Slack's incoming webhook is."""
    with serving() as served:
        monkeypatch.setenv("SLACK_WEBHOOK_URL", served.url)
        served.answer = lambda _: Answer(body=b"ok")
        yield served


@pytest.fixture
def open_slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens sinks, and closes them."""
    monkeypatch.setattr(slack, "_PAUSE_S", 0.0)
    opened: list[SlackSink] = []

    def open_sink(**options: Any) -> SlackSink:  # noqa: ANN401
        values = {"name": "alerts", "kind": "slack", "url": "${SLACK_WEBHOOK_URL}", **options}
        opened.append(SlackOptions.model_validate(values).open())
        return opened[-1]

    yield open_sink
    for sink in opened:
        sink.close()


def test_failed_jobs_are_reported_in_one_message(address: Address, open_slack: Open) -> None:
    """Others count as delivered."""
    given = [succeeded(1), failed(2), failed(3, None, status="expired"), accepted(4)]
    assert set(errors(open_slack().deliver(given)).values()) == {None}
    [request] = address.requests
    assert request.json == {
        "text": "*2 jobs of nightly failed*\n"
        "• failed: sd of s3://media/in/2.mov: no video stream (job 2)\n"
        "• expired: sd of s3://media/in/3.mov (job 3)"
    }


def test_nothing_is_posted_when_nothing_failed(address: Address, open_slack: Open) -> None:
    """A good night is a quiet one."""
    assert errors(open_slack().deliver([succeeded(1), accepted(2)])) == {1: None, 2: None}
    assert address.requests == []


def test_successes_are_reported_on_request(address: Address, open_slack: Open) -> None:
    """With their outputs."""
    open_slack(statuses=["succeeded"]).deliver([succeeded(1), failed(2)])
    assert address.requests[0].json["text"] == (
        "*1 job of nightly ended*\n"
        "• succeeded: sd of s3://media/in/1.mov: https://cdn.test/1.mp4 (job 1)"
    )


def test_a_bad_night_is_one_short_message(address: Address, open_slack: Open) -> None:
    """With a limit for its lines and its length."""
    open_slack().deliver([failed(n, "x" * 5000) for n in range(500)])
    [request] = address.requests
    text = request.json["text"]
    assert text.startswith("*500 jobs of nightly failed*")
    assert len(text) < 4000
    open_slack().deliver([failed(n) for n in range(500)])
    assert address.requests[-1].json["text"].endswith("… and 480 more")


def test_file_names_cannot_mention_anybody(address: Address, open_slack: Open) -> None:
    """Nor make links, nor break the lines; signatures are left out."""
    bad = failed(
        1,
        "<!channel> & more\nsee https://x.test/?sig=abc",
        input_url="https://x.test/<@U1>.mov?X-Amz-Signature=abc",
    )
    open_slack().deliver([bad])
    text = address.requests[0].json["text"]
    assert "&lt;!channel&gt; &amp; more" in text
    assert "<" not in text
    assert "sig=abc" not in text
    assert "Signature" not in text
    assert text.count("\n") == 1


def test_messages_keep_a_distance(
    address: Address, open_slack: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack takes about one a second."""
    monkeypatch.setattr(slack, "_PAUSE_S", 0.3)
    sink = open_slack()
    began = time.monotonic()
    for number in range(3):
        sink.deliver([failed(number)])
    assert time.monotonic() - began > 0.6
    assert len(address.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, body=b"no_service"),
        Answer(410, body=b"channel_is_archived"),
        Answer(429, {"Retry-After": "1"}),
        Answer(500),
    ],
)
def test_results_wait_while_slack_takes_nothing(
    answer: Answer, address: Address, open_slack: Open
) -> None:
    """Also when the webhook is gone: another one can be made."""
    address.answer = lambda _: answer
    with pytest.raises(SinkUnavailable, match="cannot write to Slack") as caught:
        open_slack().deliver([failed(1)])
    assert address.url not in str(caught.value)


def test_a_message_that_slack_refuses_is_not_sent_again(address: Address, open_slack: Open) -> None:
    """It would be refused for ever."""
    address.answer = lambda _: Answer(400, body=b"invalid_payload")
    assert errors(open_slack().deliver([failed(1), succeeded(2)])) == {
        1: "HTTP 400: invalid_payload",
        2: None,
    }


def test_the_check_writes_no_message(
    address: Address, open_slack: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It only looks for the URL."""
    assert open_slack().check() is None
    assert address.requests == []
    monkeypatch.delenv("SLACK_WEBHOOK_URL")
    assert "SLACK_WEBHOOK_URL" in str(open_slack().check())


def test_the_url_is_a_secret() -> None:
    """Who has it can write to the channel."""
    with pytest.raises(ValidationError, match="a secret does not belong into this file"):
        SlackOptions(name="a", kind="slack", url="https://hooks.slack.com/services/T/B/x")
