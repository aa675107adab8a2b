"""A browser on the page of a running receiver, as people use it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.receiver.harness import Running

PATIENCE_MS = 10_000
# A phone, a laptop, a large screen.
WIDTHS = (390, 1280, 2560)
# A restored page is allowed to be asked for what it does not have.
_EXPECTED = ("status of 404", "status of 410", "status of 422", "status of 503")


@contextmanager
def visitor(browser: Browser, **options: Any) -> Iterator[BrowserContext]:  # noqa: ANN401
    """A browser of its own, without cookies; at its end nothing was wrong on any of its pages.

    Nothing means: no error of a script, and no violation of the content security policy.
    """
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(each in message.text for each in _EXPECTED):
            wrong.append(message.text)

    context.on("console", hear)
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    yield context
    context.close()
    assert wrong == []


def violations(page: Page) -> list[str]:
    """What axe finds wrong with the page as it is now."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def send(receiver: Running, body: object) -> None:
    """Send a webhook. Playwright's own event loop runs in this thread, so another one sends it."""
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(receiver.post, body).result().status_code == 200
