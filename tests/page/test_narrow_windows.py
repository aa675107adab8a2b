"""Every column of a list can be seen without scrolling sideways, in a narrow window too."""

from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace

import pytest
from playwright.sync_api import Browser
from sqlalchemy import update

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.models import Batch, Run
from ittybatch.ledger.states import BatchState
from tests.chromium import chromium
from tests.page.browsing import overflow, visitor
from tests.page.steering import failing, submitted
from tests.receiver.harness import running

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
        ledger.write(
            lambda transaction: transaction.execute(
                update(Batch)
                .where(Batch.id == ended)
                .values(state=BatchState.SOME_FAILED.value, ended_at=transaction.now)
            )
        )
        ledger.write(
            lambda transaction: transaction.execute(
                update(Run).values(flow_run_id=Run.owner + "-c9d5-4a9b-8a51-5c4f1d8e2b9a")
            )
        )
    with running(sqlite_url) as up:
        yield SimpleNamespace(url=up.url, busy=busy, ended=ended)


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
