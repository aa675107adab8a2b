"""Every column of a list can be seen without scrolling sideways, in a narrow window too."""

import re
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace

import httpx
import pytest
from playwright.sync_api import Browser, FloatRect, Locator, expect
from sqlalchemy import update

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.batch_detail import chunk_rows
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.models import Batch, Item, Run
from ittybatch.ledger.states import BatchState
from tests.chromium import chromium
from tests.page.browsing import overflow, visitor
from tests.page.steering import failing, submitted
from tests.receiver.harness import running

NAME = "requests"
# Elements that scroll sideways, with what they hide.
_CUT_OFF = """
() => [...document.querySelectorAll('.scroll, .top nav')]
  .filter((e) => e.scrollWidth > e.clientWidth + 1)
  .map((e) => `${e.innerText.slice(0, 60)}: ${e.scrollWidth - e.clientWidth} px`)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def scene(sqlite_url: str) -> Iterator[SimpleNamespace]:
    """A receiver with batches that have ended, and one whose chunk has a flow run."""
    with closing(Ledger(create_ledger_engine(sqlite_url))) as ledger:
        busy, _ = submitted(ledger, 4)
        ended = failing(ledger, 5)
        [chunk, *_] = ledger.read(chunk_rows, ended)

        def change(transaction: Transaction) -> None:
            as_ended = {"state": BatchState.SOME_FAILED.value, "ended_at": transaction.now}
            is_ended = Batch.id == ended
            transaction.execute(update(Batch).where(is_ended).values(name=NAME, **as_ended))
            transaction.execute(update(Item).values(uri=f"s3://media/{'folder-' * 12}/film.mov"))
            transaction.execute(update(Run).values(flow_run_id=Run.owner + "-c9d5-4a9b-8a51"))

        ledger.write(change)
    with running(sqlite_url) as up:
        yield SimpleNamespace(url=up.url, busy=busy, ended=ended, chunk=chunk.id)


@pytest.mark.parametrize("width", [390, 768, 1200])
def test_no_column_and_no_menu_entry_is_cut_off(
    browser: Browser, scene: SimpleNamespace, width: int
) -> None:
    """A reader does not look for what no bar and no hint announces."""
    found = {}
    with visitor(browser, viewport={"width": width, "height": 900}) as someone:
        page = someone.new_page()
        for path in (
            *("", "jobs", "held", "health", "actions"),
            *(f"batches/{scene.busy}", f"batches/{scene.busy}/chunks", f"batches/{scene.ended}"),
        ):
            page.goto(f"{scene.url}/page/{path}")
            found[path] = page.evaluate(_CUT_OFF), overflow(page)
    assert {path: cut for path, cut in found.items() if cut != ([], 0)} == {}


def test_words_keep_together_and_parts_apart(browser: Browser, scene: SimpleNamespace) -> None:
    """A batch's name is not broken within a word, and what follows a chart does not touch it."""
    with visitor(browser, viewport={"width": 1280, "height": 900}) as someone:
        page = someone.new_page()
        page.goto(f"{scene.url}/page/jobs?batch={scene.ended}")
        assert _box(page.get_by_role("link", name=NAME).first)["height"] < 30, "one line"
        page.goto(f"{scene.url}/page/?q=nothing")
        chart, empty = _box(page.locator(".pulse")), _box(page.locator(".empty"))
        assert empty["y"] - chart["y"] - chart["height"] >= 12
        page.goto(f"{scene.url}/page/")
        started = page.locator("#batches time").first
        expect(started).to_have_text(re.compile("UTC, [0-9]+ s ago"))
        expect(page.get_by_label("with scans that found nothing to do")).not_to_be_checked()


def test_the_menu_shows_where_the_breadcrumb_begins(scene: SimpleNamespace) -> None:
    """An item belongs to its batch."""
    page = httpx.get(f"{scene.url}/page/items/{scene.chunk}/0", trust_env=False).text
    assert re.findall(r'<a href="([^"]+)" aria-current="page"', page) == ["/page/"]


def _box(element: Locator) -> FloatRect:
    found = element.bounding_box()
    assert found is not None
    return found
