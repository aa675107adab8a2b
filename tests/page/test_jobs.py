"""The page that finds jobs, over HTTP: filters in the address, hostile ones included."""

from urllib.parse import urlencode

import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.settlement import settle
from tests.ledger import library
from tests.page.steering import HOSTILE, Page, words
from tests.receiver.harness import Running

SIGNED = "https://cdn.test/a.mov?X-Amz-Signature=hidden-word"


@pytest.fixture
def page(receiver: Running) -> Page:
    return Page(receiver)


def _find(page: Page, **filters: str) -> str:
    return page.get(f"/page/jobs?{urlencode(filters)}")


def test_an_address_says_what_is_shown_and_jobs_lead_to_their_items(
    ledger: Ledger, page: Page
) -> None:
    assert "There are no jobs yet." in words(page.get("/page/jobs"))
    chunk, [first, _] = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    ledger.write(settle, [library.remote("task-0"), library.failed("task-1", "invalid_input", "x")])
    batch = library.place(ledger, chunk).batch_id
    for filters, shown in [
        ({}, ["a.mov", "b.mov"]),
        ({"q": "task-0"}, ["a.mov"]),
        ({"q": str(first.job_id)}, ["a.mov"]),
        ({"q": "media/B."}, ["b.mov"]),
        ({"state": "failed", "batch": batch[-6:]}, ["b.mov"]),
        ({"metadata": "show=pilot", "kind": "video", "rendition": "sd"}, ["a.mov", "b.mov"]),
        ({"kind": "image"}, []),
    ]:
        text = words(_find(page, **filters))
        assert [name for name in ("a.mov", "b.mov") if name in text] == shown, filters
        assert shown or "No job fits." in text
    html = _find(page, q="task-0")
    assert f'href="/page/items/{chunk}/0#job-{first.job_id}"' in html
    assert 'value="task-0"' in html, "the form keeps what was asked for"
    answer = page.request("GET", f"/page/jobs/{first.job_id}")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"/page/items/{chunk}/0#job-{first.job_id}",
    )
    for unknown in ("4711", "x", "9" * 30):
        assert page.request("GET", f"/page/jobs/{unknown}").status_code == 404


def test_pages_lead_back_and_forth_with_their_filters(ledger: Ledger, page: Page) -> None:
    jobs = [library.job(f"{number:03}.mov") for number in range(120)]
    library.planned_batch(ledger, *jobs, chunk_size=25)
    seen: list[str] = []
    address = "/page/jobs?rendition=sd"
    while address:
        html = page.get(address)
        seen += [name for name in (f"{number:03}.mov" for number in range(120)) if name in html]
        address = _link(html, "next")
        assert not address or "rendition=sd" in address
    assert len(seen) == len(set(seen)) == 120
    back = page.get(_link(html, "prev"))
    assert "069.mov" in back
    region = page.request("GET", "/page/regions/jobs?rendition=sd")
    assert "<html" not in region.text
    assert "119.mov" in region.text


def _link(html: str, rel: str) -> str:
    before, found, _ = html.partition(f'" rel="{rel}"')
    return before.rpartition('href="')[2].replace("&amp;", "&") if found else ""


def test_hostile_jobs_and_addresses_are_shown_and_never_run(ledger: Ledger, page: Page) -> None:
    """Script in a key, in an error and in a filter; a signature is not shown."""
    library.submitted(ledger, library.job(f"{HOSTILE}.mov"), library.job("signed", input=SIGNED))
    ledger.write(settle, [library.failed("task-0", "invalid_input", HOSTILE)])
    html = page.get("/page/jobs")
    assert "alert(&#39;x&#39;)" in html
    assert "hidden-word" not in html
    for filters in [
        {"q": HOSTILE},
        {"q": "\x00"},
        {"batch": "\x00"},
        {"batch": HOSTILE},
        {"state": HOSTILE, "kind": HOSTILE, "rendition": HOSTILE, "metadata": HOSTILE},
        {"after": "1.2.3"},
        {"before": HOSTILE},
        {"q": "x" * 5000},
    ]:
        assert HOSTILE not in _find(page, **filters)
    assert "names no part of the list" in words(_find(page, after="1.2.3"))
    assert "fits no batch" in words(_find(page, batch="nosuch"))
