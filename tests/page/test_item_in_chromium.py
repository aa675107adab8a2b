"""The page of an item in a browser: where the outcome of a lever is shown."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from ittybatch.ittybit.options import Kind
from ittybatch.ledger import Ledger
from tests.chromium import chromium
from tests.page.browsing import send, visitor
from tests.page.seen import item_with
from tests.receiver.harness import Running

KINDS = [(f"size-{number}", Kind.VIDEO) for number in range(4)]


@pytest.fixture
def ledger_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.mark.parametrize("script", [True, False])
def test_the_outcome_is_in_sight_of_the_card_that_an_address_leads_to(
    browser: Browser, ledger: Ledger, receiver: Running, *, script: bool
) -> None:
    """Far down the page, with and without script."""
    scene = item_with(ledger, "s3://media/film.raw", KINDS)
    for name, _ in KINDS:
        error = {"kind": "invalid_input", "message": "no video stream"}
        send(receiver, scene.webhook(name, "failed", error=error))
    with visitor(browser, java_script_enabled=script) as someone:
        page = someone.new_page()
        card = f"#job-{scene.job('size-3')}"
        page.goto(f"{receiver.url}{scene.path}{card}")
        assert page.evaluate("scrollY") > 300
        page.locator(card).get_by_role("button", name="Release").click()
        told = page.get_by_role("status").filter(has_text="Released 1 job")
        expect(told).to_be_in_viewport(ratio=1)
        heading = page.locator(card).get_by_role("heading", level=2)
        expect(heading).to_be_in_viewport(ratio=1)
        above, below = told.bounding_box(), heading.bounding_box()
        assert above is not None
        assert below is not None
        assert above["y"] + above["height"] <= below["y"]
