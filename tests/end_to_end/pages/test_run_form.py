"""The run form of `adhoc`, filled in as an operator does."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page

from ittybatch.engine.work_pools import WORK_POOL
from ittybatch.ledger.queries import batch_of_run
from ittybatch.ledger.states import BatchState
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


@pytest.fixture
def form(system: System, page: Page) -> RunForm:
    """The form, opened."""
    return RunForm(page, system.stack.prefect_url, "adhoc")


@pytest.fixture
def begun_by_nobody(system: System) -> Iterator[list[str]]:
    """Takes runs that are made and not begun: what the form sends is looked at, and no process."""
    system.prefect.pause_work_pool(WORK_POOL, paused=True)
    made: list[str] = []
    yield made
    for flow_run in made:
        system.prefect.delete(flow_run)
    system.prefect.pause_work_pool(WORK_POOL, paused=False)


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
    form: RunForm, begun_by_nobody: list[str], tab: str, first: str, needed: dict[str, str]
) -> None:
    """Filled in, emptied and filled in again, it is still the tab that was chosen, and is sent."""
    form.choose(tab)
    for text in ("touched", ""):
        for title in needed:
            form.fill(title, text)
    for title, text in needed.items():
        form.fill(title, text)
    form.toggle("Dry run")
    assert {title: form.value(title) for title in needed} == needed
    flow_run, sent = form.submit()
    begun_by_nobody.append(flow_run)
    assert sent["profile"] == "web"
    assert sent["source"]["type"] == TYPES[tab]
    assert set(needed.values()) <= {str(value) for value in sent["source"].values()}
    assert sent["source"][first] in needed.values()


def test_common_fields_come_first_and_profiles_are_a_list(
    form: RunForm, begun_by_nobody: list[str]
) -> None:
    """Source, profile and approval, then everything that has a default."""
    labels = [label.removesuffix(" (Optional)") for label in form.labels()]
    shown = [labels.index(each) for each in ("Source", "Profile", "Ask for approval", "Advanced")]
    assert shown == sorted(shown)
    assert "Go on with batch" not in labels
    form.fill("Bucket and prefix", "s3://pages/nothing/")
    form.pick("Profile", "podcast")
    form.toggle("Dry run")
    form.screenshot("run-form")
    flow_run, sent = form.submit()
    begun_by_nobody.append(flow_run)
    assert sent["profile"] == "podcast"


def test_a_source_alone_makes_a_batch_that_succeeds(
    system: System, form: RunForm, picture: str
) -> None:
    """Every other field has a default that the flow takes."""
    form.fill("Bucket and prefix", picture)
    flow_run, sent = form.submit()
    assert (sent["source"]["type"], sent["source"]["uri"]) == ("bucket", picture)
    assert sent["profile"] == "web"
    batch = until(lambda: system.ledger.read(batch_of_run, flow_run), "there is a batch")
    status = system.await_end(batch)
    assert status.state is BatchState.SUCCEEDED
    assert status.counts["succeeded"] == 2
    system.assert_both_sides_agree(batch)


def test_an_address_that_is_no_bucket_is_refused_in_the_form(form: RunForm) -> None:
    """Before a flow run is made of it."""
    form.fill("Bucket and prefix", "/home/me/uploads")
    assert "Validation failed for field 'source'" in form.refusal()


def test_a_query_is_run_as_it_was_written(system: System, form: RunForm, tmp_path: Path) -> None:
    """From the form to the rows of a database."""
    place = tmp_path / "library.db"
    with closing(sqlite3.connect(place)) as database, database:
        database.execute("CREATE TABLE assets (id INTEGER PRIMARY KEY, uri TEXT)")
        database.execute("INSERT INTO assets (uri) VALUES ('s3://pages/one.png')")
    form.choose("SQL query")
    form.fill("Database", f"sqlite:///{place}")
    form.fill("Query", "SELECT uri AS input FROM assets")
    form.toggle("Dry run")
    flow_run, _ = form.submit()
    assert _end_of(system, flow_run).startswith("Dry run: 2 jobs of 1 items")


def test_what_was_emptied_again_is_not_sent(
    system: System, form: RunForm, picture: str, tmp_path: Path
) -> None:
    """Optional fields that were touched are left out, and the run takes the rest."""
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"input\n{picture}teal.png\n", encoding="utf-8")
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
