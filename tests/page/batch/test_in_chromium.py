"""The levers of a batch in a real browser: live in two windows, without script, for everybody."""

import re
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from playwright.sync_api import APIResponse, Browser, Dialog, Error, Page, Route, expect

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from tests.chromium import chromium
from tests.page.browsing import WIDTHS, overflow, violations, visitor
from tests.page.steering import HOSTILE, Recorder, failing, waiting
from tests.receiver.harness import running

# Other tests may use all CPUs at the same time.
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


class Scene:
    """A receiver with a batch that waits for approval, and one whose jobs have failed."""

    def __init__(self, url: str, waiting: str, failed: str) -> None:
        self.batches = f"{url}/page/"
        self.waiting = f"{url}/page/batches/{waiting}"
        self.failed = f"{url}/page/batches/{failed}"


@pytest.fixture
def scene(sqlite_url: str, prefect: Recorder) -> Iterator[Scene]:
    del prefect
    with closing(Ledger(create_ledger_engine(sqlite_url))) as ledger:
        batches = waiting(ledger, cost_per_job=0.5, max_cost=3, canary_items=1), failing(ledger, 5)
    with running(sqlite_url) as receiver:
        yield Scene(receiver.url, *batches)


def badge(page: Page, state: str) -> None:
    expect(page.locator("#now .badge").first).to_have_text(state)


def outcome(page: Page, text: str) -> None:
    expect(page.locator("#outcome")).to_contain_text(text)


def test_what_one_window_does_another_shows(browser: Browser, scene: Scene) -> None:
    """And a click there that came too late is told so; neither page is loaded again."""
    with visitor(browser) as someone:
        someone.set_default_timeout(PATIENCE_MS)
        first, second = someone.new_page(), someone.new_page()
        for page in (first, second):
            page.goto(scene.waiting)
            expect(page.locator("#live")).to_have_attribute("data-state", "open")
            page.evaluate("window.same = true")
        # The second stands still, as a window does that has lost its connection.
        second.locator("#live").get_by_role("button", name="Stop updating").click()
        first.get_by_role("button", name="Approve: send 2 jobs").click()
        outcome(first, "is running.")
        badge(first, "running")
        second.get_by_role("button", name="Approve: send 2 jobs").click()
        outcome(second, "does not wait for approval; it is running.")
        second.locator("#live").get_by_role("button", name="Update again").click()
        badge(second, "running")
        first.get_by_role("button", name="Pause batch").click()
        badge(second, "held")
        expect(second.locator("#done")).to_contain_text("pause by someone on this machine")
        second.get_by_role("button", name="Resume batch").dblclick()
        badge(first, "running")
        assert first.evaluate("window.same")
        assert second.evaluate("window.same")


def test_what_a_lever_has_done_is_shown_beside_its_outcome(browser: Browser, scene: Scene) -> None:
    """However long regions take, and although an answer from before the click comes after it."""
    with visitor(browser) as someone:
        someone.set_default_timeout(PATIENCE_MS)
        page = someone.new_page()
        page.goto(scene.failed)
        badge(page, "finishing")
        held_up: list[tuple[Route, APIResponse]] = []
        page.route("**/regions/batches/**", lambda route: held_up.append((route, route.fetch())))
        page.evaluate("document.body.dispatchEvent(new CustomEvent('changed'))")
        expect(page.locator("#live")).to_have_attribute("data-state", "open")
        for _ in range(PATIENCE_MS // 50):
            if held_up:
                break
            page.wait_for_timeout(50)  # Playwright calls handlers only while it waits
        page.get_by_role("button", name="Pause batch").click()
        outcome(page, "is held.")
        badge(page, "held")
        expect(page.get_by_role("button", name="Resume batch")).to_be_visible()
        for route, answer in held_up[:1]:
            with suppress(Error):  # it was given up, as it should be
                route.fulfill(response=answer)
        page.wait_for_timeout(300)
        badge(page, "held")
        page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_an_outcome_is_in_sight_wherever_its_form_was(
    browser: Browser, scene: Scene, script: bool
) -> None:
    """A link to one job of an item leads far down its page."""
    with visitor(browser, java_script_enabled=script) as someone:
        someone.set_default_timeout(PATIENCE_MS)
        page = someone.new_page()
        page.set_viewport_size({"width": 390, "height": 500})
        page.goto(scene.failed)
        page.locator("#failure-1 .examples a").first.click()
        page.get_by_role("button", name="Release").click()
        outcome(page, "Released")
        expect(page.locator("#outcome .notice")).to_be_in_viewport(ratio=1)
        expect(page.get_by_role("button", name="Release")).to_have_count(0)


def test_a_form_that_is_half_filled_in_survives_what_happens(
    browser: Browser, scene: Scene
) -> None:
    """The page around it is live; what was typed stays."""
    with visitor(browser) as someone:
        someone.set_default_timeout(PATIENCE_MS)
        page, other = someone.new_page(), someone.new_page()
        page.goto(scene.waiting)
        page.get_by_label("Submissions per second").fill("2.5")
        other.goto(scene.waiting)
        other.get_by_role("button", name="Pause batch").click()
        badge(page, "held")
        expect(page.get_by_label("Submissions per second")).to_have_value("2.5")
        page.get_by_role("button", name="Apply").click()
        outcome(page, "Changed: Submissions per second: 2.5.")


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_group_is_retried(browser: Browser, scene: Scene, script: bool) -> None:
    """The page asks first, with the number and the price; what is hostile is text."""
    with visitor(browser, java_script_enabled=script) as someone:
        someone.set_default_timeout(PATIENCE_MS)
        page = someone.new_page()
        asked: list[str] = []

        def note(dialog: Dialog) -> None:
            asked.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", note)
        page.goto(scene.failed)
        expect(page.locator("#failures")).to_contain_text(HOSTILE[:18])
        page.get_by_role("link", name=re.compile("Retry these 3 ")).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Retry 3 jobs (cost unknown)?")
        expect(page.locator("main")).to_contain_text("Could not fetch …: HTTP 404")
        page.get_by_role("button", name=re.compile("Retry 3 jobs")).click()
        outcome(page, "Asked for 3 jobs to be made again")
        expect(page.locator("#done")).to_contain_text("Its batch begins when a worker starts")
        expect(page.locator("#failures")).to_contain_text("Retry asked for")
        page.get_by_role("link", name=re.compile("Retry this job ")).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Retry 1 job")
        page.get_by_role("link", name="Back", exact=True).click()
        page.get_by_role("link", name="Cancel batch…").click()
        page.get_by_role("button", name="Cancel the batch").click()
        outcome(page, "is cancelled.")
        badge(page, "cancelled")
        assert asked == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(browser: Browser, scene: Scene, scheme: str) -> None:
    """Axe finds nothing, and no window is too narrow."""
    with visitor(browser, color_scheme=scheme) as someone:
        someone.set_default_timeout(PATIENCE_MS)
        page = someone.new_page()
        page.goto(scene.failed)
        retry = page.locator("#failures a.button").first.get_attribute("href")
        assert retry is not None
        of_batch = ("", "/chunks", "/rejects", "/cancel")
        for path in (scene.batches, scene.waiting, *(scene.failed + each for each in of_batch)):
            look(page, path)
        look(page, scene.batches.removesuffix("/page/") + retry)
        page.goto(scene.failed)
        page.get_by_label("Active chunks").fill("many")
        page.get_by_role("button", name="Apply").click()
        expect(page.locator(".error")).to_be_visible()
        assert violations(page) == []


def look(page: Page, path: str) -> None:
    page.goto(path)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert overflow(page) <= 0, (path, width)
    assert violations(page) == [], path
