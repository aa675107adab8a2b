"""A real Chromium on the pages of the running stack."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from ittybatch_local import LocalStack
from tests.chromium import chromium
from tests.end_to_end.system import System

_PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium."""
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def context(running: System, browser: Browser) -> Iterator[BrowserContext]:
    """A browser that is signed in, high enough for the whole form."""
    opened = browser.new_context(viewport={"width": 1400, "height": 2800})
    opened.set_default_timeout(_PATIENCE_MS)
    first = opened.new_page()
    sign_in(first, running.stack)
    first.close()
    yield opened
    opened.close()


@pytest.fixture
def page(system: System, context: BrowserContext) -> Iterator[Page]:
    """A page of it."""
    del system
    opened = context.new_page()
    yield opened
    opened.close()


def sign_in(page: Page, stack: LocalStack) -> None:
    """Give Prefect's pages what `ittybatch up` has printed."""
    assert stack.prefect_auth is not None
    page.goto(stack.prefect_url)
    page.get_by_placeholder("admin:pass").fill(stack.prefect_auth)
    page.get_by_role("button", name="Login").click()
    expect(page.get_by_placeholder("admin:pass")).to_have_count(0)


@pytest.fixture
def picture(system: System, tmp_path: Path) -> str:
    """A prefix of a bucket that holds one small picture."""
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "teal.png")
    prefix = f"{uuid.uuid4().hex}/"
    system.stack.upload(tmp_path, "pages", prefix)
    return f"s3://pages/{prefix}"
