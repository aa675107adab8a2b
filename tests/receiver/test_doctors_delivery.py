"""`ittybatch doctor` signs a delivery of its own, and the receiver verifies it."""

from typing import Any

import pytest

from ittybatch.engine.checking import check_all
from ittybatch.engine.finding import Finding, Grade
from ittybatch.ittybit.signature import check_body, is_check, sign
from ittybatch.ledger import Ledger
from ittybatch.settings import Settings
from tests.receiver.harness import PATH, SECRET, Running, deliveries, payload, running


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
