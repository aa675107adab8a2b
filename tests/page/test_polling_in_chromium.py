"""What a page asks for by itself: only while somebody looks, and not after the end."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from prefect.client.schemas.objects import StateType

from ittybatch.engine.run_status import RunStatus
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.page import health
from ittybatch.page.doctor import Doctor
from tests.chromium import chromium
from tests.ledger import library
from tests.page.browsing import send, visitor
from tests.page.steering import Recorder
from tests.receiver.harness import Running, payload, running

_PATIENCE_S = 30.0
TURN = (
    "(hidden) => { Object.defineProperty(document, 'hidden',"
    " { value: hidden, configurable: true });"
    " document.dispatchEvent(new Event('visibilitychange')); }"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def receiver(sqlite_url: str) -> Iterator[Running]:
    with running(sqlite_url) as up:
        yield up


class Asked:
    """How often a page asks for one of its regions."""

    def __init__(self, page: Page, path: str) -> None:
        self._page = page
        self._asked = self._answered = 0
        page.on("request", lambda request: self._count(request.url, path, asked=1))
        for end in ("requestfinished", "requestfailed"):
            page.on(end, lambda request: self._count(request.url, path, answered=1))

    def _count(self, url: str, path: str, *, asked: int = 0, answered: int = 0) -> None:
        if path in url:
            self._asked += asked
            self._answered += answered

    def again(self, times: int) -> None:
        """Wait until it has asked so often from now on."""
        enough = self._asked + times
        deadline = time.monotonic() + _PATIENCE_S
        while self._asked < enough:
            assert time.monotonic() < deadline, "the page does not ask"
            self._page.wait_for_timeout(100)

    def within(self, wait_ms: int) -> int:
        """How often in this time, without what was under way at its beginning."""
        deadline = time.monotonic() + _PATIENCE_S
        self._page.wait_for_timeout(200)
        while self._answered < self._asked:
            assert time.monotonic() < deadline, "the page gets no answer"
            self._page.wait_for_timeout(200)
        before = self._asked
        self._page.wait_for_timeout(wait_ms)
        return self._asked - before


def test_a_start_is_followed_while_somebody_looks_until_it_has_ended(
    browser: Browser, receiver: Running, prefect: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look asks Prefect. A tab left open over night costs nothing."""
    run = str(uuid4())
    found: dict[str, RunStatus] = {}
    monkeypatch.setattr(prefect, "batch_run", lambda flow_run: found[str(flow_run)])
    found[run] = RunStatus(StateType.SCHEDULED, "Late", datetime.now(UTC))
    with visitor(browser) as someone:
        page = someone.new_page()
        page.goto(f"{receiver.url}/page/new/started/{run}")
        asked = Asked(page, "/page/regions/started/")
        asked.again(2)
        page.evaluate(TURN, True)
        assert asked.within(2500) == 0
        page.evaluate(TURN, False)
        asked.again(2)
        page.get_by_role("button", name="Stop updating").click()
        assert asked.within(2500) == 0
        found[run] = RunStatus(StateType.CRASHED, "Crashed", datetime.now(UTC), "It was killed.")
        page.get_by_role("button", name="Update again").click()
        expect(page.locator("#started")).to_contain_text("ended without a batch: Crashed")
        assert asked.within(2500) == 0
    with visitor(browser, java_script_enabled=False) as plain:
        page = plain.new_page()
        page.goto(f"{receiver.url}/page/new/started/{run}")
        assert page.locator("meta[http-equiv=refresh]").count() == 0


def test_checks_under_way_are_followed_while_somebody_looks(
    browser: Browser, receiver: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = threading.Event()
    run = Doctor._run

    def slow(self: Doctor, ended: threading.Event) -> None:
        assert end.wait(60)
        run(self, ended)

    monkeypatch.setattr(Doctor, "_run", slow)
    monkeypatch.setattr(health, "_WAIT_S", 0.1)
    with visitor(browser) as someone:
        page = someone.new_page()
        page.goto(f"{receiver.url}/page/health")
        asked = Asked(page, "/page/regions/health")
        page.get_by_role("button", name="Check everything now").click()
        expect(page.locator("#checking")).to_be_visible()
        asked.again(2)
        page.get_by_role("button", name="Stop updating").click()
        assert asked.within(4500) == 0
        end.set()
        page.get_by_role("button", name="Update again").click()
        expect(page.locator("#checks table")).to_be_visible(timeout=20_000)
        assert asked.within(4500) <= 1


def test_a_failed_update_says_from_when_the_page_is(browser: Browser, sqlite_url: str) -> None:
    """With the zone of every other time on it, wherever the browser is."""
    with closing(Ledger(create_ledger_engine(sqlite_url))) as ledger:
        library.submitted(ledger, library.job("a.mov"))
    with running(sqlite_url) as up, visitor(browser, timezone_id="Asia/Tokyo") as someone:
        page = someone.new_page()
        page.goto(f"{up.url}/page/health")
        expect(page.locator("#live")).to_have_attribute("data-state", "open")

        def fail(route: Route) -> None:
            route.fulfill(status=503, content_type="text/html", body="")

        page.route("**/page/regions/health", fail)
        # An update that was under way may still come.
        at_the_latest = datetime.now(UTC) + timedelta(seconds=5)
        page.wait_for_timeout(7000)
        send(up, payload("task-0"))
        notice = page.locator("#outcome .notice")
        expect(notice).to_contain_text("The server answered 503; what you see is from")
        shown = re.search(r"from (\d\d:\d\d:\d\d) UTC", notice.inner_text())
        assert shown
        time_of_day = datetime.strptime(shown[1], "%H:%M:%S").time()  # noqa: DTZ007  it is in UTC
        at = datetime.combine(at_the_latest.date(), time_of_day, UTC)
        if at - at_the_latest > timedelta(hours=12):
            at -= timedelta(days=1)
        assert at <= at_the_latest
