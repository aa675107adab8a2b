"""`ittybatch doctor` signs a delivery of its own, and the receiver verifies it."""

from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from ittybatch.engine.api_checks import check_receiver_api
from ittybatch.engine.checking import check_all
from ittybatch.engine.finding import Finding, Grade
from ittybatch.ittybit.signature import check_body, is_check, sign
from ittybatch.ledger import Ledger
from ittybatch.settings import Settings
from tests.receiver.api_client import TOKEN
from tests.receiver.harness import PATH, SECRET, Running, deliveries, payload, running
from tests.sandbox.harness import serving


def _found(ledger_url: str, up: Running, secret: str | None) -> Finding:
    given: dict[str, Any] = {
        "webhook_secret": secret,
        "webhook_url": f"{up.url}{PATH}",
        "api_url": "http://127.0.0.1:9",
        "database_url": ledger_url,
    }
    checks = check_all(Settings(**given))
    return next(each for each in checks if each.check == "Webhook URL")


def test_a_receiver_with_the_same_secret_is_found_to_be_right(
    receiver: Running, ledger: Ledger, ledger_url: str
) -> None:
    """And keeps nothing of what it verified."""
    found = _found(ledger_url, receiver, SECRET)
    assert found.grade is Grade.OK
    assert "accepts this secret's signature" in found.what
    assert deliveries(ledger) == []


def test_a_receiver_with_another_secret_is_found_out(sqlite_url: str) -> None:
    """It would refuse every webhook, and answers and wants a signature all the same."""
    with running(sqlite_url, webhook_secret="somebody else's secret") as up:
        found = _found(sqlite_url, up, SECRET)
    assert found.grade is Grade.BROKEN
    assert "another ITTYBIT_WEBHOOK_SECRET" in found.what
    assert "the same ITTYBIT_WEBHOOK_SECRET" in found.remedy
    assert SECRET not in f"{found.what} {found.remedy}"


@pytest.mark.parametrize("secret", [f'"{SECRET}"', f"{SECRET}, an old secret"])
def test_quotes_and_lists_come_to_the_same_secret(sqlite_url: str, secret: str) -> None:
    """The receiver reads the setting as doctor does."""
    with running(sqlite_url, webhook_secret=secret) as up:
        assert _found(sqlite_url, up, secret).grade is Grade.OK
        signature = sign(b'{"id":"task-0","status":"succeeded"}', SECRET.encode())
        answer = up.post(b'{"id":"task-0","status":"succeeded"}', signature=signature)
        assert answer.status_code == 200


def test_a_check_has_to_be_signed_like_everything_else(receiver: Running) -> None:
    """Or it would tell strangers that somebody listens."""
    body = check_body("nonce")
    assert receiver.post(body, signature="").status_code == 401
    assert receiver.post(body, signature="0" * 64).status_code == 401
    assert receiver.post(body).text == "verified"


def test_no_webhook_of_a_job_passes_for_a_check(receiver: Running, ledger: Ledger) -> None:
    """Only what begins with our own field is left aside."""
    body = payload("task-0", ittybatch_check="x")
    assert not is_check(b'{"id":"task-0","ittybatch_check":"x"}')
    assert receiver.post(body).text == "unknown"
    assert len(deliveries(ledger)) == 1


# The API


def _api_found(up: Running, token: str | None, **changes: Any) -> Finding:  # noqa: ANN401
    given: dict[str, Any] = {"webhook_url": f"{up.url}{PATH}", "api_token": token, **changes}
    return check_receiver_api(Settings(**given))


def test_an_api_that_is_off_is_said_to_be_off(receiver: Running) -> None:
    """That is no fault; the setting that turns it on is named."""
    found = _api_found(receiver, None)
    assert (found.grade, found.what.partition(":")[0]) == (Grade.OK, "off")
    assert "ITTYBATCH_API_TOKEN" in found.remedy


def test_an_api_with_the_same_token_is_on(sqlite_url: str) -> None:
    """The receiver is asked with the token."""
    with running(sqlite_url, api_token=TOKEN) as up:
        found = _api_found(up, TOKEN)
    assert found.grade is Grade.OK
    assert "accepts this token" in found.what


@pytest.mark.parametrize(
    ("theirs", "what"),
    [(None, "has no ITTYBATCH_API_TOKEN"), (TOKEN, "another ITTYBATCH_API_TOKEN")],
)
def test_a_receiver_with_another_token_is_found_out(
    sqlite_url: str, theirs: str | None, what: str
) -> None:
    """Every request would be refused; no token is repeated."""
    with running(sqlite_url, api_token=theirs) as up:
        found = _api_found(up, "some other token")
    assert found.grade is Grade.BROKEN
    assert what in found.what
    assert "the same ITTYBATCH_API_TOKEN" in found.remedy
    assert "some other token" not in f"{found.what} {found.remedy}"


def test_an_api_on_a_private_port_is_not_missed() -> None:
    """The public one answers 404 in plain text."""
    with serving(NotFound) as url:
        given: dict[str, Any] = {"webhook_url": f"{url}{PATH}", "api_token": TOKEN}
        found = check_receiver_api(Settings(**given))
    assert found.grade is Grade.OK
    assert "private port" in found.what


class NotFound(BaseHTTPRequestHandler):
    """A public port."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_args: object) -> None:
        return


def test_the_token_is_not_sent_in_clear_over_a_network() -> None:
    """Only over TLS, or on this machine."""
    given: dict[str, Any] = {"webhook_url": f"http://192.0.2.1{PATH}", "api_token": TOKEN}
    assert check_receiver_api(Settings(**given)).grade is Grade.OK
