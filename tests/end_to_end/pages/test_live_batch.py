"""A batch is approved, paused, tuned, resumed and retried on the live page, against a real stack.

Once with script, without ever reloading the page, and once in a browser that runs none.
"""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from ittybatch.ledger.actions import recent_actions
from ittybatch.ledger.states import BatchState
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.parametrize("manifest", [6], indirect=True, ids=str),
]

LIVE_MS = 60_000
BROKEN = {"kind": "invalid_input", "message": "Could not read s3://library/3.png: it has 0 bytes"}
FAULTS = {
    "jobs": [{"match": {"input": "*/3.png"}, "action": "fail_always", "error": BROKEN}],
}


@pytest.fixture(params=[True, False], ids=["with script", "without script"])
def tab(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a browser that runs script, or does not."""
    context = browser.new_context(java_script_enabled=request.param)
    context.set_default_timeout(LIVE_MS)
    yield context.new_page()
    context.close()


def test_a_batch_is_steered_and_retried(
    instant_system: System, manifest: dict[str, str], tab: Page, request: pytest.FixtureRequest
) -> None:
    """Each lever tells what it did; what failed is made again, and its new batch is linked."""
    system, live = instant_system, "with script" in request.node.name
    system.wire.strike(FAULTS)
    batch = system.begin(manifest, approve_above_jobs=0, submit_per_s=1)
    until(lambda: system.status(batch).state is BatchState.UNAPPROVED, "it waits for approval")
    tab.goto(system.stack.page_url)
    tab.locator(f"#batch-{batch} a").first.click()

    expect(tab.get_by_text("6 jobs planned")).to_be_visible()
    press(tab, "Approve: send 6 jobs", f"Done: Batch {batch} is running.", live=live)
    press(tab, "Pause batch", f"Done: Batch {batch} is held.", live=live)
    expect(tab.locator("#now")).to_contain_text("Paused by someone on this machine")

    tab.get_by_label("Submissions per second").fill("slow")
    tab.get_by_role("button", name="Apply").click()
    expect(tab.locator(".error")).to_contain_text("Write a number")
    tab.get_by_label("Submissions per second").fill("0")
    tab.get_by_role("button", name="Apply").click()
    expect(tab.locator("#outcome")).to_contain_text("Submissions per second: no limit")
    tab.get_by_role("link", name="Cancel batch…").click()
    expect(tab.get_by_text("will not be sent")).to_be_visible()
    tab.get_by_role("link", name="Keep it").click()
    press(tab, "Resume batch", "is running.", live=live)
    shows(tab, "#now .badge >> nth=0", "some failed", live=live)

    expect(tab.locator("#failures")).to_contain_text(BROKEN["message"])
    system.wire.strike({})
    tab.get_by_role("link", name=re.compile("Retry this job ")).click()
    tab.get_by_role("button", name=re.compile("Retry 1 job")).click()
    expect(tab.locator("#outcome")).to_contain_text("Asked for 1 job to be made again")
    shows(tab, "#done", "Its batch 2", live=live)
    tab.get_by_role("link", name=re.compile("Its batch")).click()
    shows(tab, "#now .badge >> nth=0", "succeeded", live=live)
    [made] = [each for each in system.recent() if each.source.get("batch") == batch]
    assert made.counts["succeeded"] == 1
    system.assert_both_sides_agree(batch)
    done = [each.action for each in reversed(system.ledger.read(recent_actions, batch=batch))]
    assert done == ["approve", "pause", "tune", "resume", "retry"]


def press(tab: Page, name: str, told: str, *, live: bool) -> None:
    """Press a button, and see what it did; with script, the page is not loaded again."""
    if live:
        tab.evaluate("window.same = true")
    tab.get_by_role("button", name=name).click()
    expect(tab.locator("#outcome")).to_contain_text(told)
    expect(tab.get_by_role("button", name=name)).to_have_count(0)
    if live:
        assert tab.evaluate("window.same") is True


def shows(tab: Page, where: str, text: str, *, live: bool) -> None:
    """Wait until a part of the page shows a text: by itself, or after a reload without script."""
    if live:
        expect(tab.locator(where)).to_contain_text(text, timeout=LIVE_MS)
        return

    def reloaded() -> bool:
        tab.reload()
        return text in tab.locator(where).inner_text()

    until(reloaded, f"the page shows {text!r}", within_s=LIVE_MS / 1000, every_s=1)
