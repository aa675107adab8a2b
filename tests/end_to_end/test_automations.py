"""The examples of `automations.yaml` on a real server: what happens to a batch arrives outside."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ittybatch.ledger.states import BatchState
from tests.docs.automations import with_examples
from tests.end_to_end.mailbox import Mailbox, mailbox
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until
from tests.sinks.server import Address, serving

pytestmark = pytest.mark.timeout(300)

ALERT, SLACK, WEBHOOK, NO_BATCH = (
    f"ittybatch-{name}" for name in ("alert", "slack", "webhook", "no-batch")
)
# Prefect's minimum.
SHORTEST_S = 10


@pytest.fixture
def chat() -> Iterator[Address]:
    """Where notifications arrive."""
    with serving() as address:
        yield address


@pytest.fixture
def hook() -> Iterator[Address]:
    """A webhook of the user's own."""
    with serving() as address:
        yield address


@pytest.fixture
def mail() -> Iterator[Mailbox]:
    """The user's mail server."""
    with mailbox() as found:
        yield found


@pytest.fixture
def examples(system: System, chat: Address, hook: Address, mail: Mailbox) -> Iterator[None]:
    """All examples, as they are written, with blocks that lead to this machine."""
    to_chat = system.prefect.create_block("slack-webhook", {"url": f"json{chat.url[4:]}"})
    to_mail = system.prefect.create_block(
        "slack-webhook",
        {"url": f"mailto://127.0.0.1:{mail.port}?from=ops@example.com&to=night@example.com"},
    )
    to_hook = system.prefect.create_block("webhook", {"url": hook.url})
    blocks = {ALERT: to_chat, SLACK: to_chat, WEBHOOK: to_hook, NO_BATCH: to_mail}
    declared = yaml.safe_load(with_examples(*blocks))["automations"]
    made = [
        system.prefect.create_automation(_aimed(each, blocks[each["name"]]))
        for each in declared
        if each["name"] in blocks
    ]
    assert len(made) == len(blocks)
    yield
    for automation in made:
        system.prefect.delete_automation(automation)
    for block in {*blocks.values()}:
        system.prefect.delete_block(block)


def _aimed(automation: dict[str, Any], block: str) -> dict[str, Any]:
    [action] = automation["actions"]
    trigger = automation["trigger"]
    if trigger["posture"] == "Proactive":
        trigger = {**trigger, "within": SHORTEST_S}
    actions = [{**action, "block_document_id": block}]
    return {**automation, "trigger": trigger, "actions": actions}


def _said(chat: Address) -> dict[str, str]:
    return {each.json["title"]: each.json["message"] for each in list(chat.requests)}


@pytest.mark.usefixtures("examples")
def test_each_example_fires_for_what_it_is_about(
    system: System, chat: Address, hook: Address, mail: Mailbox, tmp_path: Path
) -> None:
    """Of a batch that is held, and then cancelled; and of a stretch of time without a batch."""
    gone = tmp_path / "gone.csv"
    batch = system.begin({"type": "manifest", "uri": str(gone)})
    until(lambda: system.status(batch).state is BatchState.HELD, "the batch is held")
    name = system.status(batch).name

    called = until(lambda: [*hook.requests], "the webhook is called")
    held = until(lambda: _said(chat).get(f"{name}: ittybatch.batch.held"), "Slack says held")
    failed = until(
        lambda: next((text for title, text in _said(chat).items() if "needs you" in title), None),
        "the alert fires",
    )
    [told] = [each.body.decode() for each in called]
    assert told.startswith(f"{name}: ittybatch.batch.held.")
    for text in (told, held, failed):
        assert str(gone) in text
    assert f"ittybatch resume {batch}" in failed

    assert system.command("cancel", batch).returncode == 0
    ended = until(lambda: _said(chat).get(f"{name}: ittybatch.batch.ended"), "Slack says ended")
    assert "Cancelled by" in ended
    until(lambda: hook.requests[1:], "the webhook is called again")
    assert f"{name}: ittybatch.batch.ended. Cancelled by" in hook.requests[1].body.decode()

    [message, *_] = until(lambda: [*mail.messages], "the e-mail comes", within_s=3 * SHORTEST_S)
    assert message["To"] == "night@example.com"
    assert "No batch has ended" in str(message["Subject"])
    assert [len(hook.requests), len(chat.requests)] == [2, 3], "each has fired once"
