"""The page of all batches over HTTP: those under way first, filters in the address, a drawing."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.control import cancel_batch
from ittybatch.ledger.pulse import Bar
from ittybatch.ledger.settlement import settle
from ittybatch.page.drawing import WINDOWS, draw_pulse
from tests.ledger import library
from tests.page.steering import HOSTILE, Page, failing, submitted, waiting, words


def test_batches_under_way_come_first_with_their_figures(ledger: Ledger, page: Page) -> None:
    """Then those that ended, and how."""
    running, task = submitted(ledger, 4)
    # Without a time of Ittybit's, it has ended now.
    ledger.write(settle, [replace(library.remote(f"{task}-0"), finished_at=None)])
    ended = waiting(ledger, cost_per_job=0.5, max_cost=3)
    asking = waiting(ledger, cost_per_job=0.5, max_cost=3)
    ledger.write(cancel_batch, ended, f"Cancelled: {HOSTILE}")
    html = page.get("/page/")
    under_way, _, finished = html.partition("<h2>Ended</h2>")
    assert f'id="batch-{running}"' in under_way
    assert f'id="batch-{asking}"' in under_way
    assert f'id="batch-{ended}"' in finished
    [card] = re.findall(rf'<article[^>]+id="batch-{running}".*?</article>', html, re.DOTALL)
    assert "Succeeded 1 of 4 Failed 0 At Ittybit 3" in words(card)
    assert "a minute Time left" in words(card)
    [card] = re.findall(rf'<article[^>]+id="batch-{asking}".*?</article>', html, re.DOTALL)
    assert "2 jobs are planned. Nothing is sent before you approve it." in words(card)
    assert "Spent 0.00 of 3.00" in words(card)
    assert "cancelled" in words(finished)
    assert HOSTILE not in html
    part = page.get("/page/regions/batches")
    assert "<html" not in part
    assert f'id="batch-{running}"' in part


def test_filters_are_in_the_address(ledger: Ledger, page: Page) -> None:
    """The region asks for the same as its page; what fits nothing says so."""
    asking, other = waiting(ledger), failing(ledger, 3)
    today = datetime.now(UTC).date()
    for query in (
        f"q={asking}",
        f"q={asking[-8:].upper()}&state=unapproved",
        f"q={asking}&since={today - timedelta(days=1)}&until={today + timedelta(days=1)}&window=6h",
    ):
        html = page.get(f"/page/?{query}")
        assert f'id="batch-{asking}"' in html
        assert f'id="batch-{other}"' not in html
        [region] = re.findall(r'hx-get="(/page/regions/batches[^"]*)"', html)
        assert f'id="batch-{asking}"' in page.get(region.replace("&amp;", "&"))
    for query in (
        f"q={asking}&state=running",
        f"q={asking}&until={today - timedelta(days=2)}",
        "q=100%25",
        "q=%00nobody",
    ):
        assert "No batch fits." in words(page.get(f"/page/?{query}"))
    assert f'id="batch-{asking}"' in page.get("/page/?state=nonsense&since=soon&window=2y")


def test_the_way_back_to_the_newest_keeps_every_filter(ledger: Ledger, page: Page) -> None:
    """And the dates say whose days they are."""
    batch = waiting(ledger)
    asked = f"q={batch}&state=unapproved&since=2026-01-01&until=2099-01-01&window=6h"
    shown = unescape(page.get(f"/page/?after=x&{asked}&done=1"))
    [newest] = re.findall(r'href="([^"]+)">Newest batches', shown)
    assert newest == f"/page/?{asked}"
    first = page.get(newest)
    assert f'id="batch-{batch}"' in first
    assert "Newest batches" not in first
    assert re.findall(r"<label>([^<]+) <input type=\"date\"", first) == [
        "Begun since (UTC)",
        "until (UTC)",
    ]


def test_a_drawing_says_what_it_shows_in_words_too() -> None:
    """Each bar has a title, and all of them a sentence: colour is not the only sign."""
    window = WINDOWS["6h"]
    begun = datetime(2026, 11, 27, 8, tzinfo=UTC)
    bars = [Bar(begun + n * timedelta(minutes=5), 10 * n, n) for n in range(window.bars)]
    drawing = draw_pulse(bars, window)
    assert drawing.bars[3].title == "08:15 UTC: 30 succeeded, 3 ended otherwise, in 5 minutes"
    assert "28,116 in all, 2,556 of them without success; at most 156 a minute" in drawing.summary
    assert [tick.text for tick in drawing.up] == ["100", "200"]
    highest = drawing.bars[-1]
    assert 0 < highest.bad_y < highest.good_y < drawing.base
    assert highest.bad_y + highest.bad_height == pytest.approx(highest.good_y, abs=0.02)
    assert highest.x + highest.width <= 100


def test_a_drawing_of_nothing_is_empty() -> None:
    """A night without jobs is no error."""
    window = WINDOWS["1h"]
    drawing = draw_pulse([Bar(datetime.now(UTC), 0, 0)] * window.bars, window)
    assert "0 in all" in drawing.summary
    assert {bar.good_height + bar.bad_height for bar in drawing.bars} == {0}
