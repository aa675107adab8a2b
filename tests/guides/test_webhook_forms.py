"""The webhooks of the guides, sent to our receiver for jobs that its ledger knows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ittybatch.ittybit.signature import HEADER, sign
from ittybatch.ledger import Ledger
from ittybatch.ledger.models import Job
from tests.guides.blocks import block, run_javascript
from tests.ledger import library
from tests.receiver.harness import SECRET, deliveries
from tests.receiver.harness import Running as Receiver

Change = Callable[[dict[str, Any]], None]


def at_ittybit(ledger: Ledger) -> str:
    """Put one job at Ittybit, and return Ittybit's id of it."""
    library.submitted(ledger, library.job("uploads/video.mov"))
    return "task-0"


def sent(name: str, task: str, change: Change = lambda _: None) -> bytes:
    """A payload of the guides, for this job; its text stays as it is printed."""
    printed = json.loads(block(name))
    known = (printed.get("data") or printed)["id"]
    text = block(name, {known: task}).strip()
    payload = json.loads(text)
    change(payload)
    return text.encode() if payload == json.loads(text) else json.dumps(payload).encode()


def only_job(ledger: Ledger) -> Any:  # noqa: ANN401 - a row
    columns = (Job.state, Job.output_url, Job.error_message, Job.output_duration_s)
    [row] = ledger.read(lambda tx: tx.rows(select(*columns)))
    return row


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("002_payload.json", "https://cdn.ittybit.com/clippable/export-38271.mp4"),
        ("003_payload.json", "https://cdn.ittybit.com/abc/video.mp4"),
    ],
)
def test_a_printed_payload_settles_its_job(
    receiver: Receiver, ledger: Ledger, name: str, url: str
) -> None:
    """Guides 002 (flat, `succeeded`) and 003 (wrapped, `completed`), as they are printed."""
    task = at_ittybit(ledger)
    assert receiver.post(sent(name, task)).status_code == 200
    assert (only_job(ledger).state, only_job(ledger).output_url) == ("succeeded", url)


def test_a_flat_payload_that_says_completed_settles_its_job(
    receiver: Receiver, ledger: Ledger
) -> None:
    """Guides 000 and 004 read that word at the top level."""
    task = at_ittybit(ledger)
    body = sent("002_payload.json", task, lambda payload: payload.update(status="completed"))
    assert receiver.post(body).status_code == 200
    assert only_job(ledger).state == "succeeded"


@pytest.mark.parametrize(
    "error", ["could not decode the input", {"message": "could not decode the input"}]
)
def test_a_failure_gives_its_reason_in_both_forms(
    receiver: Receiver, ledger: Ledger, error: object
) -> None:
    """Guide 002 prints `error` itself, guide 004 reads `error.message`."""
    task = at_ittybit(ledger)

    def fail(payload: dict[str, Any]) -> None:
        del payload["output"]
        payload.update(status="failed", error=error)

    assert receiver.post(sent("002_payload.json", task, fail)).status_code == 200
    assert only_job(ledger).error_message == "could not decode the input"


def test_a_payload_of_the_express_receiver_has_the_same_signature(
    receiver: Receiver, ledger: Ledger, tmp_path: Path
) -> None:
    """Guide 002 signs `JSON.stringify(req.body)`; we check the bytes, which then are the same."""
    task = at_ittybit(ledger)
    payload = json.loads(block("002_payload.json", {"task_a1b2c3d4": task}))
    body = json.dumps(payload, separators=(",", ":"))
    script = "002_sign.js"
    given = {"BODY": body, "ITTYBIT_WEBHOOK_SECRET": SECRET}
    computed = run_javascript(script, {"console.log(computed)": LOGGED}, tmp_path, **given)
    assert computed == [sign(body.encode(), SECRET.encode())]
    assert receiver.post(body.encode(), signature=computed[0]).status_code == 200
    assert only_job(ledger).state == "succeeded"


LOGGED = "console.log(JSON.stringify(computed))"


@pytest.mark.parametrize("signature", ["", "0" * 64, "not hex"])
def test_an_invalid_signature_is_401(receiver: Receiver, ledger: Ledger, signature: str) -> None:
    """As in both receivers of guide 002, in the `Ittybit-Signature` header; nothing is kept."""
    task = at_ittybit(ledger)
    assert HEADER == "Ittybit-Signature"
    answer = receiver.post(sent("002_payload.json", task), signature=signature)
    assert answer.status_code == 401
    assert deliveries(ledger) == []
    assert only_job(ledger).state == "submitted"


def test_a_webhook_that_comes_twice_counts_once(receiver: Receiver, ledger: Ledger) -> None:
    """Guide 002: deduplicate on the task's id. Both are answered with 200."""
    task = at_ittybit(ledger)
    body = sent("002_payload.json", task)
    assert [receiver.post(body).status_code for _ in range(2)] == [200, 200]
    [kept] = deliveries(ledger)
    assert kept.times == 2
