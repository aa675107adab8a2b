"""Names in the documentation are names of the program, and none is left out."""

import importlib
import re
from datetime import UTC, datetime

import pytest

from ittybatch.cli.status import COULD_NOT_RUN, SOME_FAILED, SUCCEEDED, USAGE
from ittybatch.engine.options import BatchOptions
from ittybatch.ittybit.options import MODELS
from ittybatch.ledger.models import Base
from ittybatch.ledger.sinks import SinkStatus
from ittybatch.ledger.states import Verdict
from ittybatch.ledger.watch import Watch
from ittybatch.profiles import Profile, Rendition
from ittybatch.profiles.condition import Condition
from ittybatch.profiles.destinations import DESTINATION_FIELDS
from ittybatch.receiver.metrics import Metrics
from ittybatch.settings import CHECKOUT, Settings
from ittybatch.sources import (
    BucketSource,
    FailedJobsSource,
    InventorySource,
    ManifestSource,
    QueueSource,
    SqlSource,
)
from ittybatch.sources.columns import KNOWN
from ittybatch.sources.filters import ObjectFilters
from tests.docs.pages import PAGES, first_cells, spans

PACKAGES = ("engine", "ledger", "receiver", "sinks", "profiles", "sources", "ittybit", "tasks")


SINK = SinkStatus(
    "table",
    "sql",
    active=True,
    pending=1,
    refused=1,
    oldest_pending_at=None,
    failures=0,
    retry_at=None,
    last_error=None,
    last_delivered_at=None,
)
WATCH = Watch(
    now=datetime.now(UTC),
    jobs={"planned": 1},
    suspended=1,
    batches={"held": 1},
    circuits_open=0,
    overdue=0,
    run_wait_s=0.0,
    last_webhook_at=None,
    last_reconcile_at=None,
    sinks=[SINK],
)


def settings() -> set[str]:
    """The environment's name of every setting."""
    return {
        str(getattr(field.validation_alias, "choices", [f"ITTYBATCH_{name.upper()}"])[0])
        for name, field in Settings.model_fields.items()
    }


def test_every_setting_is_documented() -> None:
    """All of them, under the names that the environment has."""
    assert set(first_cells("docs/operations.md", "Settings")) == settings()


def test_every_option_of_a_batch_is_documented() -> None:
    """All of them, by name."""
    documented = first_cells("docs/operations.md", "Options of a batch")
    assert set(documented) == set(BatchOptions.model_fields)


def test_the_example_settings_can_be_loaded() -> None:
    """Copied as it is, the file stops nothing; filled in, its names are known."""
    path = CHECKOUT / ".env.example"
    loaded = Settings(_env_file=path)
    assert loaded.webhook_url is None
    assert loaded.webhook_secrets == ()
    assert loaded.ledger_url.startswith("sqlite:")
    names = set(re.findall(r"^(?:# )?([A-Z_]+)=", path.read_text(encoding="utf-8"), re.MULTILINE))
    ours = {name for name in names if not name.startswith(("AWS_", "PREFECT_", "POSTGRES_"))}
    assert ours <= settings()


def test_every_metric_is_documented() -> None:
    """By the name that Prometheus reads, with its label."""
    metrics = Metrics()
    metrics.stored([Verdict.APPLIED])
    metrics.refused(401)
    metrics.woken("called", 1)
    metrics.answered("/process", 202, 0.1)
    metrics.count_queue_messages({"taken": 1})
    metrics.ledger.set(WATCH)
    metrics.sinks.delivered("table", 1)
    metrics.sinks.refused("table", 1)
    metrics.sinks.unavailable("table")
    rendered = metrics.render().decode()
    names = set(re.findall(r"^# TYPE (ittybatch_\w+)", rendered, flags=re.MULTILINE))
    names = {name for name in names if not name.endswith("_created")}
    documented = first_cells("docs/operations.md", "Watch")
    assert {name.partition("{")[0] for name in documented} == names
    for name in documented:
        metric, _, label = name.rstrip("}").partition("{")
        # A histogram has no sample of its own name.
        samples = (f'{name}{{{label}="' for name in (metric, f"{metric}_count"))
        assert not label or any(sample in rendered for sample in samples)


def test_every_field_of_a_profile_is_documented() -> None:
    """Of the file, of a rendition, of a condition, and of destinations."""
    page = "docs/profiles.md"
    assert set(first_cells(page, "The file")) == set(Profile.model_fields)
    assert set(first_cells(page, "A rendition")) == set(Rendition.model_fields)
    conditions = set(first_cells(page, "Conditions")) | {"max_size"}  # shares min_size's row
    assert conditions == set(Condition.model_fields)
    fields = {name.strip("{}") for name in first_cells(page, "Destinations")}
    assert fields == DESTINATION_FIELDS


def test_the_table_of_options_is_the_programs() -> None:
    """Each kind has a tick for just the options that it takes."""
    text = (CHECKOUT / "docs/profiles.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (`.*)\|$", text.partition("\n## Options\n")[2].partition("\n- ")[0], re.MULTILINE
    )
    kinds = re.findall(r"`(\w+)`", text.partition("| Option |")[2].partition("\n")[0])
    ticked: dict[str, set[str]] = {kind: set() for kind in kinds}
    for row in rows:
        names, *cells = row.split("|")
        for kind, cell in zip(kinds, cells, strict=True):
            if cell.strip():
                ticked[kind].update(re.findall(r"`(\w+)`", names))
    assert ticked == {kind.value: set(model.model_fields) for kind, model in MODELS.items()}


def test_every_field_of_a_source_is_documented() -> None:
    """Of each source, and of a manifest's columns."""
    page = "docs/sources.md"
    bucket = set(first_cells(page, "A bucket")) | {"max_size"}  # shares min_size's row
    assert bucket == set(BucketSource.model_fields)
    # Filters share a row, and are told of under a bucket.
    filters = set(ObjectFilters.model_fields)
    for section, model in (
        ("An inventory of S3", InventorySource),
        ("A query of a database", SqlSource),
        ("A queue of events", QueueSource),
        ("What failed in an earlier batch", FailedJobsSource),
    ):
        own = set(model.model_fields) - (filters if issubclass(model, ObjectFilters) else set())
        assert set(first_cells(page, section)) - filters == own
    cells = set(first_cells(page, "A manifest")) | {"etag"}  # shares fingerprint's row
    told = {cell for cell in cells if not cell.startswith(".")}  # but for suffixes of files
    assert told == {*KNOWN, "metadata.NAME", *ManifestSource.model_fields}


def test_exit_statuses_are_the_programs() -> None:
    """In their order."""
    text = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.partition("\n## Exit status\n")[2].partition("\n## ")[0]
    found = [int(number) for number in re.findall(r"^\| (\d) \|", section, flags=re.MULTILINE)]
    assert found == [SUCCEEDED, SOME_FAILED, USAGE, COULD_NOT_RUN]


@pytest.mark.parametrize("page", PAGES)
def test_code_that_is_named_exists(page: str) -> None:
    """`ledger.submission.claim_due` and its like can be imported from where they are said to be."""
    pattern = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+")
    for name in filter(pattern.fullmatch, spans(page)):
        root = f"ittybatch.{name}"
        assert resolves(root), name


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    words = name.split(".")
    for cut in range(len(words), 0, -1):
        try:
            found: object = importlib.import_module(".".join(words[:cut]))
        except ModuleNotFoundError:
            continue
        for word in words[cut:]:
            found = getattr(found, word, None)
        return found is not None
    return False


def test_tables_and_indexes_that_are_named_exist() -> None:
    """`runs.wake_at`, `jobs.claim` and the index that the waker reads."""
    tables = Base.metadata.tables
    named = {
        name for name in spans("docs/architecture.md") if name.partition(".")[0] in set(tables)
    }
    assert named
    for name in named:
        table, _, column = name.partition(".")
        assert not column or column in tables[table].columns, name
    indexes = {str(index.name) for table in tables.values() for index in table.indexes}
    assert {name for name in spans("docs/architecture.md") if name.startswith("ix_")} <= indexes


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    """Paths of the repository, by their beginning."""
    begins = ("ittybatch/", "deployments/", "ittybatch_local/", "ittybit_sandbox/", "scripts/")
    for name in spans(page):
        if name.startswith(begins) and " " not in name:
            assert (CHECKOUT / name).exists(), name
