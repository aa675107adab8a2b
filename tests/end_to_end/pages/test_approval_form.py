"""A plan is looked at, approved and watched on Prefect's pages alone."""

import pytest
from playwright.sync_api import Page, expect

from ittybatch.ledger.queries import batch_of_run
from ittybatch.ledger.states import BatchState
from tests.end_to_end.pages.run_form import RunForm
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

pytestmark = [pytest.mark.timeout(600)]


def test_a_backfill_is_planned_approved_and_watched(
    system: System, page: Page, picture: str
) -> None:
    """From a bucket's name to its results: it asks, suspended, and its page's form lets it go."""
    form = RunForm(page, system.stack.prefect_url, "adhoc")
    form.fill("Bucket and prefix", picture.removeprefix("s3://"))
    form.choose("Above a number")
    form.count("Ask for approval", 0)
    flow_run, sent = form.submit()
    assert sent["approve_above_jobs"] == 0
    assert sent["source"]["uri"] == picture.removeprefix("s3://")
    batch = until(lambda: system.ledger.read(batch_of_run, flow_run), "there is a batch")
    until(lambda: system.prefect.flow_run(flow_run)["state_type"] == "PAUSED", "the run asks")
    assert system.status(batch).state is BatchState.UNAPPROVED

    page.goto(f"{system.stack.prefect_url}/runs/flow-run/{flow_run}")
    page.get_by_text("Artifacts", exact=True).click()
    expect(page.get_by_text(f"plan-{batch}")).to_have_count(1)
    page.get_by_role("button", name="Resume").click()
    expect(
        page.get_by_text("2 jobs are planned. Nothing is sent before you approve it.")
    ).to_be_visible()
    # A click opens the list and closes it again; an arrow key only opens it.
    page.locator(".p-modal .p-select-button__control").press("ArrowDown")
    page.get_by_role("option", name="approve").click()
    page.locator(".p-modal").get_by_role("button", name="Submit").click()

    status = system.await_end(batch)
    assert (status.state, status.counts["succeeded"]) == (BatchState.SUCCEEDED, 2)
    system.assert_both_sides_agree(batch)
    page.goto(f"{system.stack.prefect_url}/runs/flow-run/{flow_run}")
    expect(page.get_by_text(f"adhoc: {picture}, web").first).to_be_visible()
    expect(page.get_by_text(f"batch:{batch}").first).to_be_visible()
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    page.get_by_text("Artifacts", exact=True).click()
    for artifact in ("plan", "progress", "results", "report"):
        expect(page.get_by_text(f"{artifact}-{batch}")).to_have_count(1)
    page.get_by_text(f"results-{batch}").click()
    expect(page.get_by_role("link", name="teal.webp").first).to_be_visible()
