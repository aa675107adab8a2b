"""The run form of `adhoc`, filled in as an operator does."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ittybatch.ledger.queries import batch_of_run
from tests.end_to_end.pages.run_form import RunForm
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

pytestmark = pytest.mark.timeout(600)

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/pages"
TYPES = {
    "Bucket": "bucket",
    "Manifest": "manifest",
    "S3 Inventory": "inventory",
    "SQL query": "sql",
    "Queue of events": "queue",
    "Failed jobs": "failed",
}


def test_the_form_starts_a_batch_that_succeeds(system: System, page: Page, picture: str) -> None:
    """With a bucket's name and nothing else; the run's page says what it was and came to."""
    form = RunForm(page, system.stack.prefect_url, "adhoc")
    form.fill("Bucket and prefix", picture.removeprefix("s3://"))
    form.screenshot("run-form")
    flow_run, sent = form.submit()
    assert sent["profile"] == "web"
    assert sent["source"]["uri"] == picture.removeprefix("s3://")

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


@pytest.mark.parametrize(
    ("tab", "first", "needed"),
    [
        ("Bucket", "uri", {"Bucket and prefix": "s3://pages/nothing/"}),
        ("Manifest", "uri", {"Manifest": "s3://pages/list.csv"}),
        ("S3 Inventory", "manifest_uri", {"manifest.json": "s3://pages/inventory/manifest.json"}),
        ("SQL query", "database", {"Database": "NOBODYS_URL", "Query": "SELECT 1 AS input"}),
        ("Queue of events", "queue_url", {"Queue": QUEUE, "Bucket and prefix": "s3://pages/"}),
        ("Failed jobs", "batch", {"Batch": "latest"}),
    ],
)
def test_every_source_has_a_tab_that_stays(
    system: System, page: Page, tab: str, first: str, needed: dict[str, str]
) -> None:
    """Filled in, emptied and filled in again, it is still the tab that was chosen, and is sent."""
    form = RunForm(page, system.stack.prefect_url, "adhoc")
    form.choose(tab)
    for text in ("touched", ""):
        for title in needed:
            form.fill(title, text)
    for title, text in needed.items():
        form.fill(title, text)
    form.toggle("Dry run")
    assert {title: form.value(title) for title in needed} == needed
    _, sent = form.submit()
    assert sent["source"]["type"] == TYPES[tab]
    assert set(needed.values()) <= {str(value) for value in sent["source"].values()}
    assert sent["source"][first] in needed.values()


def test_common_fields_come_first_and_profiles_are_a_list(system: System, page: Page) -> None:
    """Source, profile and approval, then everything that has a default."""
    form = RunForm(page, system.stack.prefect_url, "adhoc")
    labels = [label.removesuffix(" (Optional)") for label in form.labels()]
    shown = [labels.index(each) for each in ("Source", "Profile", "Ask for approval", "Advanced")]
    assert shown == sorted(shown)
    assert "Go on with batch" not in labels
    form.fill("Bucket and prefix", "s3://pages/nothing/")
    form.pick("Profile", "podcast")
    form.toggle("Dry run")
    _, sent = form.submit()
    assert sent["profile"] == "podcast"


def test_an_address_that_is_no_bucket_is_refused_in_the_form(system: System, page: Page) -> None:
    """Before a flow run is made of it."""
    form = RunForm(page, system.stack.prefect_url, "adhoc")
    form.fill("Bucket and prefix", "/home/me/uploads")
    assert "Validation failed for field 'source'" in form.refusal()


def test_a_query_is_run_as_it_was_written(system: System, page: Page, tmp_path: Path) -> None:
    """From the form to the rows of a database."""
    place = tmp_path / "library.db"
    with closing(sqlite3.connect(place)) as database, database:
        database.execute("CREATE TABLE assets (id INTEGER PRIMARY KEY, uri TEXT)")
        database.execute("INSERT INTO assets (uri) VALUES ('s3://pages/one.png')")
    form = RunForm(page, system.stack.prefect_url, "adhoc")
    form.choose("SQL query")
    form.fill("Database", f"sqlite:///{place}")
    form.fill("Query", "SELECT uri AS input FROM assets")
    form.toggle("Dry run")
    flow_run, _ = form.submit()
    assert _end_of(system, flow_run).startswith("Dry run: 2 jobs of 1 items")


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
    for title in ("Name", "Copy the report to"):
        form.fill(title, "touched")
        form.fill(title, "")
    flow_run, sent = form.submit()
    assert {"type": "manifest", "uri": str(manifest)}.items() <= sent["source"].items()
    assert sent["options"]["dry_run"] is True
    assert not {"name", "report_to"} & set(sent["options"]), sent
    assert _end_of(system, flow_run).startswith("Dry run: ")
    assert system.ledger.read(batch_of_run, flow_run) is None


def _end_of(system: System, flow_run: str) -> str:
    """Wait until a run has ended; gives its message."""

    def ended() -> str | None:
        run = system.prefect.flow_run(flow_run)
        return run["state"]["message"] if run["state_type"] in {"COMPLETED", "FAILED"} else None

    return until(ended, "the run has ended", within_s=120)
