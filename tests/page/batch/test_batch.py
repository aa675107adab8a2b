"""The page of a batch over HTTP: how far it is, why jobs failed, its chunks and its reports."""

import io
import re
from html import unescape

import pyarrow.parquet as pq
from sqlalchemy import select

from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import finish_planning
from ittybatch.ledger.models import Chunk
from ittybatch.ledger.plan import PlannedReject
from ittybatch.ledger.planning import plan_page
from tests.ledger import library
from tests.page.steering import (
    HOSTILE,
    Page,
    failing,
    words,
)


def test_a_batch_shows_what_it_does_and_why_jobs_failed(ledger: Ledger, page: Page) -> None:
    """Failures are grouped by reason, each with examples and the price of a retry."""
    batch = failing(ledger, 5)
    html = page.get(f"/page/batches/{batch}")
    text = words(html)
    assert "1 of 5 jobs" in text
    assert "3 jobs failed invalid_input Retry these 3 (cost unknown)… Could not fetch …" in text
    assert "would fail again, and be billed again" in text
    of_batch = select(Chunk.id).where(Chunk.batch_id == batch)
    chunk = ledger.read(lambda tx: tx.execute(of_batch).scalar_one())
    assert f'href="/page/items/{chunk}/3#job-' in html
    assert re.search(r"sd 1 succeeded, 4 failed of 5 20% 1 4 0 0", text)
    assert "<script>alert" not in html
    assert "<script>alert('x')" in text
    for region in ("now", "plan", "failures", "renditions", "chunks", "done"):
        part = page.get(f"/page/regions/batches/{batch}/{region}")
        assert words(part)
        assert "<html" not in part
    page.get(f"/page/regions/batches/{batch}/other", 404)
    page.get("/page/batches/nobody", 404)
    page.get("/page/batches/%00", 404)


def test_reports_are_downloads(ledger: Ledger, page: Page) -> None:
    """Each form is whole, whoever named the batch; only failures if asked for."""
    batch = failing(ledger, 5)
    at = f"/page/batches/{batch}/report"
    found = page.request("GET", f"{at}.json")
    assert found.headers["content-disposition"] == f'attachment; filename="{batch}.json"'
    assert len(found.json()["jobs"]) == 5
    assert page.get(f"{at}.csv").count("s3://media/") >= 5
    assert page.get(f"{at}.csv?failures=1").count("\r\n") == 1 + 4
    table = pq.read_table(io.BytesIO(page.request("GET", f"{at}.parquet").content))
    assert table.num_rows == 5
    assert page.request("GET", f"{at}.html").headers["x-content-type-options"] == "nosniff"
    page.get(f"{at}.exe", 404)


def test_chunks_and_rejects_come_in_pages(ledger: Ledger, page: Page) -> None:
    """Each chunk says what it waits for."""
    batch = library.new_batch(ledger).id
    rejects = [PlannedReject(n, "url", f"{HOSTILE} {n}", "row") for n in range(70)]
    planned = library.page(*(library.job(f"{batch}/{n}.mov") for n in range(60)), rejects=rejects)
    ledger.write(plan_page, batch, planned, after=None, chunk_size=1)
    ledger.write(finish_planning, batch)
    library.released_chunk(ledger, batch)
    text = words(page.get(f"/page/batches/{batch}"))
    assert "0 of 60 chunks done" in text
    assert "1 released none yet of 1 0 of 1 a worker to start its flow run none" in text
    assert "its turn: 4 chunks at a time" in text
    assert "70 rows and items that could not be used: which, and why" in text
    for name, marked in (("chunks", "0 of 1"), ("rejects", HOSTILE)):
        first = page.get(f"/page/batches/{batch}/{name}")
        [more] = re.findall(r'href="([^"]+)">Next page', first)
        assert words(first).count(marked) == 50
        rest = page.get(unescape(more))
        assert words(rest).count(marked) == (10 if name == "chunks" else 20)
        assert HOSTILE not in rest
        assert "Next page" not in rest
    assert words(page.get(f"/page/batches/{batch}/chunks?state=released")).count("0 of 1") == 1
