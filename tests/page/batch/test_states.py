"""What the page says of a batch that plans, takes requests, finishes, or waits for a retry."""

import re

from sqlalchemy import select

from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import Via, record_action
from ittybatch.ledger.batches import finish_planning
from ittybatch.ledger.identity import chunk_owner
from ittybatch.ledger.legs import begin_leg
from ittybatch.ledger.models import Chunk
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.settlement import settle
from tests.ledger import library, orders
from tests.page.new_jobs import text as main_text
from tests.page.steering import HOSTILE, Page, failing, submitted, words


def card(html: str, title: str) -> str:
    """The words of a part of the page, by the id of its element."""
    found = re.search(rf'<(section|div) [^>]*id="{title}".*?</\1>', html, re.DOTALL)
    return words(found[0]) if found else ""


def test_a_plan_that_is_not_known_yet_shows_no_zeros(ledger: Ledger, page: Page) -> None:
    """It fetches itself anew, so that it never contradicts the number to approve."""
    batch = library.new_batch(ledger).id
    html = page.get(f"/page/batches/{batch}")
    assert card(html, "plan") == "Planning…"
    region = f"/page/regions/batches/{batch}/plan"
    assert f'id="plan" hx-get="{region}"' in html
    planned = library.page(*(library.job(f"{batch}/{name}.mov") for name in "ab"))
    ledger.write(plan_page, batch, planned, after=None, chunk_size=10)
    assert "0 items" not in words(page.get(region))
    ledger.write(finish_planning, batch, "Somebody has to approve of it.")
    assert words(page.get(region)).startswith("2 items found 2 items with something to do 2 jobs")


def test_a_batch_of_requests_says_until_when_it_takes_them(ledger: Ledger, page: Page) -> None:
    """It is not stuck: it has no plan and no time left, although all of its jobs have ended."""
    name = f"requests-{id(page)}"
    order = orders.order(library.job(f"{name}.mov"), spec=orders.spec(digest=name))
    receipt = orders.taken(ledger, order)
    batch = receipt.submissions[0].batch_id
    orders.accept(ledger, receipt, prefix=name)
    ledger.write(settle, [library.remote(f"{name}-0")])
    html = page.get(f"/page/batches/{batch}")
    assert "takes requests until 00:00 UTC" in card(html, "now")
    assert "Time left" not in words(html)
    assert "Plan" not in re.findall(r"<h2[^>]*>([^<]+)", html)
    assert card(html, "chunks").startswith("1 chunk; the last takes requests.")
    assert "takes requests until 00:00 UTC" in words(page.get(f"/page/?q={batch}"))


def test_a_batch_whose_jobs_have_all_ended_is_finishing(ledger: Ledger, page: Page) -> None:
    """Its flow runs close it; no time is left to tell."""
    batch, task = submitted(ledger, 1)
    ledger.write(settle, [library.remote(f"{task}-0")])
    now = card(page.get(f"/page/batches/{batch}"), "now")
    assert now.startswith("finishing")
    assert "Time left finishing" in now


def test_a_job_that_waits_for_a_retry_is_not_one_that_was_never_sent(
    ledger: Ledger, page: Page
) -> None:
    """In the header, and in what its chunk waits for."""
    batch, task = submitted(ledger, 3)
    ledger.write(settle, [library.failed(f"{task}-0")])
    of_batch = select(Chunk.id).where(Chunk.batch_id == batch)
    chunk = ledger.read(lambda tx: tx.execute(of_batch).scalar_one())
    ledger.write(begin_leg, chunk_owner(chunk), f"run of {batch}")
    html = page.get(f"/page/batches/{batch}")
    assert "At Ittybit 2 Not sent 0 Waits for a retry 1" in card(html, "now")
    assert "2 jobs at Ittybit; 1 to retry" in card(html, "chunks")


def test_the_list_behind_a_group_says_what_it_lists(ledger: Ledger, page: Page) -> None:
    """It has all jobs in the group's state, and not the group's alone."""
    batch = failing(ledger, 7)
    assert "All 6 failed jobs of this batch" in words(page.get(f"/page/batches/{batch}"))


def test_a_batch_names_what_began_it(ledger: Ledger, page: Page) -> None:
    """A run that somebody asked for is about no batch until it has one."""
    run = f"{id(page):036d}"[-36:]
    ledger.write(
        record_action,
        actor="anna",
        via=Via.CLI,
        action="run",
        outcome="Started `it`.",
        details={"flow_run_id": run},
    )
    batch = library.new_batch(ledger, flow_run_id=run).id
    html = page.get(f"/page/batches/{batch}")
    assert "run by anna (cli) Started it ." in card(html, "done")
    assert "Its batch" not in card(html, "done")
    other = library.new_batch(ledger).id
    assert "No action on this batch was recorded." in words(page.get(f"/page/batches/{other}"))


def test_what_was_made_leads_from_a_failure_to_its_reason(ledger: Ledger, page: Page) -> None:
    """Jobs of one item that failed for one reason take one line."""
    batch = failing(ledger, 4)
    jobs = [row.id for row in library.rows(ledger, batch)]
    answer = page.request("GET", f"/page/new/made?jobs={min(jobs)}-{max(jobs)}")
    assert "1 made, 3 failed" in main_text(answer)
    assert answer.text.count(f'href="/page/batches/{batch}#failures">Why, and retry…') == 1
    failed = ",".join(str(job) for job in sorted(jobs)[1:])
    answer = page.request("GET", f"/page/new/made?jobs={failed}")
    assert "3 failed 0 of 3 outputs are there, 3 failed. Why, and retry…" in main_text(answer)
    assert f"{HOSTILE} is no film" in main_text(answer)
    item = library.order(*(library.job(f"{batch}/x.mov", rendition=name) for name in ("a", "b")))
    receipt = orders.taken(ledger, item)
    orders.accept(ledger, receipt, prefix=f"{batch}-x")
    path = f"/page/new/made?jobs={','.join(str(each.job_id) for each in receipt.submissions)}&all=1"
    bad = [library.failed(f"{batch}-x-{n}", "invalid_input", "no film") for n in range(2)]
    ledger.write(settle, bad[:1])
    assert "1 is on its way" in main_text(page.request("GET", path))
    ledger.write(settle, bad[1:])
    assert "failed a , b no film" in main_text(page.request("GET", path))
