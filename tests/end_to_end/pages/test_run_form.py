"""The run form of `adhoc`, filled in as an operator does."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ittybatch.ledger.queries import batch_of_run
from tests.end_to_end.pages.run_form import RunForm
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

pytestmark = pytest.mark.timeout(600)


def test_the_form_starts_a_batch_that_succeeds(system: System, page: Page, picture: str) -> None:
    """With a bucket's name and nothing else; the run's page says what it was and came to."""
    form = RunForm(page, system.stack.prefect_url, "adhoc")
    form.fill("Bucket and prefix", picture)
    assert form.value("Profile") == "web"
    flow_run, sent = form.submit()
    assert {"type": "bucket", "uri": picture}.items() <= sent["source"].items()

    batch = until(lambda: system.ledger.read(batch_of_run, flow_run), "there is a batch")
    status = system.await_end(batch)
    assert (status.state.value, status.counts["succeeded"]) == ("succeeded", 2)
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


def test_every_source_has_a_tab_that_stays(system: System, page: Page) -> None:
    """What is written in one tab does not throw the form back to another."""
    form = RunForm(page, system.stack.prefect_url, "adhoc")
    assert form.labels()[:2] == ["Source", "Bucket and prefix"]
    form.choose("Manifest")
    form.fill("Manifest", "s3://pages/list.csv")
    assert form.value("Manifest") == "s3://pages/list.csv"
    form.choose("Failed jobs")
    form.fill("Batch", "latest")
    form.choose("Bucket")
    form.fill("Bucket and prefix", "s3://pages/")
    assert form.value("Bucket and prefix") == "s3://pages/"


def test_what_was_emptied_again_is_not_sent(
    system: System, page: Page, picture: str, tmp_path: Path
) -> None:
    """Optional fields that were touched are left out, and the run takes the rest."""
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"input\n{picture}teal.png\n", encoding="utf-8")
    form = RunForm(page, system.stack.prefect_url, "adhoc")
    form.choose("Manifest")
    form.fill("Manifest", str(manifest))
    form.toggle("Dry run")
    for title in ("Name", "Go on with batch"):
        form.fill(title, "touched")
        form.fill(title, "")
    flow_run, sent = form.submit()
    assert {"type": "manifest", "uri": str(manifest)}.items() <= sent["source"].items()
    assert sent["options"]["dry_run"] is True
    assert not {"name", "go_on_with"} & set(sent["options"]), sent

    def ended() -> str | None:
        run = system.prefect.flow_run(flow_run)
        return str(run["state_name"]) if run["state_type"] in {"COMPLETED", "FAILED"} else None

    assert until(ended, "the dry run has ended") == "DryRun"
    assert system.ledger.read(batch_of_run, flow_run) is None
