"""The page's foundation in a real browser: live in every window, without script, for everybody."""

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, HttpCredentials, Locator, Page, expect

from ittybatch.ledger import Ledger
from ittybatch.ledger.changes import ChangeWatch
from ittybatch.ledger.database import create_ledger_engine
from tests.chromium import chromium
from tests.ledger import library
from tests.page.browsing import WIDTHS, overflow, send, violations, visitor
from tests.receiver.harness import Running, payload, running, wait_until

JOBS = 12
PAGES = (
    *("/page/", "/page/jobs", "/page/new", "/page/held", "/page/health", "/page/actions"),
    "/page/nothing",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def busy(sqlite_url: str) -> Iterator[Running]:
    """A receiver whose ledger has jobs at Ittybit."""
    with closing(Ledger(create_ledger_engine(sqlite_url))) as ledger:
        library.submitted(ledger, *(library.job(f"{n}.mov") for n in range(JOBS)))
    with running(sqlite_url) as up:
        yield up


def applied(page: Page) -> Locator:
    """How many webhooks of the last hour ended a job."""
    return page.locator("#webhooks tbody tr").first.locator("td").first


def open_live(page: Page, receiver: Running, path: str = "/page/health") -> Page:
    page.goto(f"{receiver.url}{path}")
    expect(page.locator("#live")).to_have_attribute("data-state", "open")
    return page


def test_seven_windows_share_one_stream_and_the_seventh_acts(
    browser: Browser, busy: Running
) -> None:
    """All of them visible: a browser gives six connections to a host."""
    with visitor(browser) as someone:
        windows = [open_live(someone.new_page(), busy) for _ in range(7)]
        assert {each.evaluate("document.visibilityState") for each in windows} == {"visible"}
        send(busy, payload("task-0"))
        for each in windows:
            expect(applied(each)).to_have_text("1")
        seventh = windows[6]
        seventh.get_by_role("button", name="Check everything now").click()
        expect(seventh.locator("#outcome .notice")).to_contain_text("Everything is checked")
        # The first shows what the seventh has done.
        expect(windows[0].locator("#checks table")).to_be_visible()


def test_a_paused_page_stands_still(browser: Browser, busy: Running) -> None:
    """And catches up at once."""
    with visitor(browser) as someone:
        page, other = (open_live(someone.new_page(), busy) for _ in range(2))
        page.get_by_role("button", name="Stop updating").click()
        send(busy, payload("task-0"))
        expect(applied(other)).to_have_text("1")
        # Both were told at once; the request of this one would take no longer.
        page.wait_for_timeout(500)
        expect(applied(page)).to_have_text("0")
        page.get_by_role("button", name="Update again").click()
        expect(applied(page)).to_have_text("1")


def test_a_hidden_page_costs_nothing(
    browser: Browser, busy: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one that is hidden ends the stream; the first that is shown catches up."""
    looks: list[float] = []
    look = ChangeWatch.look

    def counted(self: ChangeWatch) -> str:
        looks.append(time.monotonic())
        return look(self)

    monkeypatch.setattr(ChangeWatch, "look", counted)
    turn = (
        "(hidden) => { Object.defineProperty(document, 'hidden',"
        " { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    with visitor(browser) as someone:
        page = open_live(someone.new_page(), busy)
        wait_until(lambda: looks)
        page.evaluate(turn, True)
        wait_until(lambda: time.monotonic() - looks[-1] > 2.5)
        send(busy, payload("task-0"))
        expect(applied(page)).to_have_text("0")
        page.evaluate(turn, False)
        expect(applied(page)).to_have_text("1")


def test_what_a_reader_has_opened_and_focused_stays_so(browser: Browser, busy: Running) -> None:
    """A region is morphed, not replaced."""
    with visitor(browser) as someone:
        page = open_live(someone.new_page(), busy, "/page/")
        link = page.locator("#batches a").first
        link.focus()
        before = link.element_handle()
        assert before is not None
        shown = page.locator("#batches").inner_text()
        send(busy, payload("task-0"))
        expect(page.locator("#batches")).not_to_have_text(shown, use_inner_text=True)
        assert before.evaluate("e => e.isConnected && document.activeElement === e")


def test_a_password_is_asked_once_and_opens_the_stream_too(
    browser: Browser, sqlite_url: str
) -> None:
    """One who may only look sees no button."""
    bobs = "battery staple"
    with running(sqlite_url, page_auth="ada:correct horse", page_viewer_auth=f"bob:{bobs}") as up:
        credentials: HttpCredentials = {"username": "bob", "password": bobs}
        with visitor(browser, http_credentials=credentials) as bob:
            page = open_live(bob.new_page(), up)
            assert page.get_by_role("button", name="Check everything now").count() == 0


def test_without_script_a_form_tells_what_was_done(browser: Browser, busy: Running) -> None:
    """On the page that it leads to, once."""
    with visitor(browser, java_script_enabled=False) as plain:
        page = plain.new_page()
        page.goto(f"{busy.url}/page/health")
        page.get_by_role("button", name="Check everything now").click()
        expect(page.get_by_role("status")).to_contain_text("Everything is checked")
        assert "done=" in page.url
        page.get_by_role("link", name="Batches").click()
        assert not page.get_by_role("status").inner_text()


def test_without_script_a_page_says_that_it_stands_still(browser: Browser, busy: Running) -> None:
    """Jobs at Ittybit would seem to hang, and nothing would lead on."""
    with visitor(browser, java_script_enabled=False, viewport={"width": 390, "height": 800}) as one:
        page = one.new_page()
        page.goto(f"{busy.url}/page/?q=test")
        ended = page.locator("#batches .figures dd").first
        expect(ended).to_have_text(f"0 of {JOBS}")
        send(busy, payload("task-0"))
        hint = page.locator(".who")
        expect(hint).to_contain_text("Reload to see progress")
        hint.get_by_role("link", name="Reload").click()
        expect(ended).to_have_text(f"1 of {JOBS}")
        assert page.url.endswith("/page/?q=test")
        assert overflow(page) <= 0
    with visitor(browser) as live:
        page = open_live(live.new_page(), busy)
        expect(page.locator(".who")).not_to_contain_text("Reload")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(browser: Browser, busy: Running, scheme: str) -> None:
    """Axe finds nothing, and no window is too narrow."""
    with visitor(browser, color_scheme=scheme) as someone:
        page = someone.new_page()
        for path in PAGES:
            page.goto(f"{busy.url}{path}")
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                assert overflow(page) <= 0, (path, width)
            assert violations(page) == [], path


def test_the_keyboard_reaches_everything(browser: Browser, busy: Running) -> None:
    """First a way past the navigation."""
    with visitor(browser) as someone:
        page = open_live(someone.new_page(), busy)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent.trim()") == "Check everything now"
