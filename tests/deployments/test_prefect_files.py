"""prefect.yaml and the automations mean what their comments say."""

from pathlib import Path

import yaml
from prefect.events.schemas.automations import EventTrigger

from ittybatch.engine.deployments import read_automations
from ittybatch.ledger.notices import Event
from ittybatch.settings import CHECKOUT
from tests.docs.automations import FILE, with_example, with_examples


def test_the_example_of_an_alert_is_used_by_removing_its_marks(tmp_path: Path) -> None:
    """And fires for batches alone, under the name that Prefect gives to their Failed."""
    path = tmp_path / "automations.yaml"
    path.write_text(with_example())
    resume, alert = read_automations(path)
    assert (resume.name, alert.name) == ("ittybatch-resume", "ittybatch-alert")
    assert isinstance(alert.trigger, EventTrigger)
    assert alert.trigger.expect == {"prefect.flow-run.Failed"}
    assert [read.name for read in read_automations(FILE)] == ["ittybatch-resume"]


def test_a_backfill_lets_tonights_batch_pass() -> None:
    """Where jobs in flight are limited; of the same priority, the older batch would go first."""
    declared = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    options = {each["name"]: each.get("parameters", {}).get("options", {}) for each in declared}
    lowest = [name for name, each in options.items() if each.get("priority") == "low"]
    assert lowest == ["backfill"]


def test_each_example_is_an_automation_that_prefect_takes(tmp_path: Path) -> None:
    """On events that the ledger gives."""
    names = ["ittybatch-alert", "ittybatch-slack", "ittybatch-webhook", "ittybatch-no-batch"]
    path = tmp_path / "automations.yaml"
    path.write_text(with_examples(*names))
    found = read_automations(path)
    assert [each.name for each in found] == ["ittybatch-resume", *names]
    expected = {
        name
        for each in found
        if isinstance(each.trigger, EventTrigger)
        for name in each.trigger.expect
    }
    given = {f"ittybatch.{each}" for each in Event}
    ours = {name for name in expected if name.startswith("ittybatch.batch")}
    assert ours == {"ittybatch.batch.held", "ittybatch.batch.ended"}
    assert ours <= given
