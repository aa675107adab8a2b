"""The dashboard and the alerts ask for metrics that a receiver has, and say what to do."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from cyclopts.exceptions import CycloptsError
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from ittybatch.cli.app import app
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.brakes import trip
from ittybatch.ledger.control import hold_batch, pause_batch
from ittybatch.ledger.last_runs import RECONCILE, record_run
from ittybatch.ledger.models import Job, Run
from ittybatch.ledger.run_moves import Move, move
from ittybatch.settings import CHECKOUT
from tests.docs.pages import first_cells
from tests.ledger import library
from tests.receiver.harness import Running, payload, running, wait_until

ALERTS = CHECKOUT / "deployments" / "prometheus" / "alerts.yaml"
DASHBOARD = CHECKOUT / "deployments" / "grafana" / "dashboard.json"
# Prometheus adds these to every sample, or makes the metric itself.
OF_PROMETHEUS = {"job", "instance"}
UP = "up"
RESULTS = """
sinks:
  - name: app
    kind: http
    url: http://127.0.0.1:9/results
    secret: ${APP_SECRET}
"""


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def targets() -> list[dict[str, Any]]:
    """Every query of the dashboard."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [target for panel in panels for target in panel.get("targets", ())]


def nodes(expression: promql.Expr) -> list[promql.Expr]:
    """An expression and all of its parts."""
    found: list[promql.Expr] = []
    promql.walk(expression, found.append)
    return found


def selectors(expression: promql.Expr) -> Iterator[promql.VectorSelector]:
    """What an expression reads."""
    for node in nodes(expression):
        if isinstance(node, promql.VectorSelector):
            yield node
        elif isinstance(node, promql.MatrixSelector):
            yield node.vector_selector


def groupings(expression: promql.Expr) -> Iterator[tuple[set[str], promql.Expr]]:
    """The labels that its parts group by, without those of Prometheus, and what they group."""
    for node in nodes(expression):
        if isinstance(node, promql.AggregateExpr) and node.modifier:
            yield set(node.modifier.labels) - OF_PROMETHEUS, node.expr


def fill(ledger: Ledger) -> None:
    """One of everything that somebody is woken for."""
    library.submitted(ledger, library.job("late.mov"), library.job("soon.mov"))
    library.planned_chunk(ledger, "held.mov")
    for number, name in enumerate(("held", "paused", "tripped")):
        batch = library.planned_batch(ledger, library.job(f"{name}-{number}.mov"))
        if name == "held":
            ledger.write(hold_batch, batch, "The key is refused.")
        elif name == "paused":
            ledger.write(pause_batch, batch, "somebody")
        else:
            ledger.write(trip, batch)
            _wait_for_an_hour(ledger, batch)
    past = ledger.read(lambda tx: tx.now) - timedelta(hours=2)
    of_late = Job.task_id == "task-0"
    ledger.write(lambda tx: tx.execute(update(Job).where(of_late).values(deadline_at=past)))
    ledger.write(record_run, RECONCILE, {})


def _wait_for_an_hour(ledger: Ledger, batch: str) -> None:
    def wait(transaction: Transaction) -> None:
        ago = transaction.now - timedelta(hours=1)
        move(transaction, Move.WAIT, Run.batch_id == batch, wake_at=ago)

    ledger.write(wait)


@pytest.fixture
def filled(
    ledger: Ledger, ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    """A receiver with trouble of every kind, and a sink that is away."""
    results = tmp_path / "results.yaml"
    results.write_text(RESULTS)
    monkeypatch.setenv("APP_SECRET", "a secret of more than 32 characters")
    fill(ledger)
    with running(ledger_url, results_file=results, api_token="a token of the API") as up:
        assert up.post(payload("task-1")).status_code == 200
        assert up.post(payload("task-1"), signature="sha256=wrong").status_code == 401
        token = {"Authorization": "Bearer a token of the API"}
        assert up.get("/jobs/1", token).status_code in {200, 404}
        wait_until(lambda: up.metric('ittybatch_sink_failures_total{sink="app"}'))
        yield up


def test_every_metric_and_label_is_one_that_the_receiver_has(filled: Running) -> None:
    """An alert on a metric that nobody has never fires."""
    labels: dict[str, set[tuple[str, str]]] = {UP: {("job", "ittybatch")}}
    for family in text_string_to_metric_families(filled.get("/metrics").text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels.items())
    texts = [each["expr"] for each in (*rules(), *targets())]
    assert len(texts) > len(rules())
    for text in texts:
        expression = promql.parse(text)
        asked = list(selectors(expression))
        assert asked, text
        for selector in asked:
            known = labels.get(selector.name or "")
            assert known is not None, f"no {selector.name} in /metrics: {text}"
            for matcher in selector.matchers.matchers:
                assert (matcher.name, matcher.value) in known, text
        for grouped, of in groupings(expression):
            for selector in selectors(of):
                assert grouped <= {name for name, _ in labels[selector.name or ""]}, text
    for target in targets():
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        grouped_by = [grouped for grouped, _ in groupings(promql.parse(target["expr"]))]
        assert shown <= set().union(*grouped_by), target


def test_the_figures_are_those_of_the_ledger(filled: Running) -> None:
    """What alerts look at: a paused batch is not a held one, and a job on time is not overdue."""
    figures = {
        'ittybatch_batches{state="held"}': 1,
        'ittybatch_batches{state="paused"}': 1,
        'ittybatch_batches{state="running"}': 3,
        "ittybatch_circuits_open": 1,
        "ittybatch_jobs_overdue": 1,
        "ittybatch_ready": 1,
        "ittybatch_webhooks_uncommitted": 0,
        'ittybatch_webhooks_refused_total{status="401"}': 1,
        'ittybatch_webhooks_refused_total{status="503"}': 0,
    }
    assert {name: filled.metric(name) for name in figures} == figures
    assert 3600 <= filled.metric("ittybatch_run_wait_seconds") < 3700
    clock = filled.metric('ittybatch_clock_timestamp_seconds{clock="receiver"}')
    for of_ledger in (
        'ittybatch_clock_timestamp_seconds{clock="ledger"}',
        "ittybatch_last_webhook_timestamp_seconds",
        "ittybatch_last_reconcile_timestamp_seconds",
    ):
        assert abs(filled.metric(of_ledger) - clock) < 60


def test_a_ledger_that_is_away_is_told_from_one_without_news(tmp_path: Path) -> None:
    """It is not ready, and shows no clock of a ledger that it cannot read."""
    with running(f"sqlite:///{tmp_path / 'empty.db'}") as up:
        assert "\nittybatch_ready 0.0\n" in up.get("/metrics").text
        assert up.metric('ittybatch_clock_timestamp_seconds{clock="receiver"}') > 0
        assert up.metric('ittybatch_clock_timestamp_seconds{clock="ledger"}') == 0


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_alert_begins_with_the_command_to_run(rule: dict[str, Any]) -> None:
    """A command that there is, in an alert that is documented."""
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description"}
    text = rule["annotations"]["description"]
    first, *others = re.findall(r"`([^`]+)`", text)
    assert text.startswith(f"`{first}`")
    for command in (first, *others):
        if command.startswith("ittybatch "):
            words = command.replace("{{ $labels.sink }}", "app").split()[1:]
            _parses(["8" if word == "N" else word for word in words])
    assert rule["alert"] in first_cells("docs/operations.md", "Prometheus alerts")


def test_every_documented_alert_is_in_the_file() -> None:
    """In the order of the file."""
    documented = first_cells("docs/operations.md", "Prometheus alerts")
    assert documented == [rule["alert"] for rule in rules()]


def test_prometheus_takes_the_file() -> None:
    """Its templates, too, where its own tool is at hand."""
    promtool = shutil.which("promtool")
    if promtool is None:
        print("promtool is not on PATH: only the expressions were parsed.")  # noqa: T201
        assert all(promql.parse(rule["expr"]) for rule in rules())
        return
    done = subprocess.run(
        [promtool, "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_lays_its_panels_out_side_by_side() -> None:
    """None lies on another, and each has an id of its own and asks the chosen data source."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["description"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def _parses(words: Sequence[str]) -> None:
    try:
        app.parse_args(words, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        pytest.fail(f"{' '.join(words)}: {error}")
