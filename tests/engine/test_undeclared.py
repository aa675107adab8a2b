"""Deploying against a real Prefect server: nothing runs that the file does not declare."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.testing.utilities import prefect_test_harness

from ittybatch.engine.deployments import Declared, deploy
from ittybatch.engine.undeclared import leftover_schedules
from ittybatch.settings import CHECKOUT

NIGHTLY = "run-batch/nightly"
CRON = {"cron": "0 2 * * *", "active": True}


@pytest.fixture(scope="module")
def prefect() -> Iterator[SyncPrefectClient]:
    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        yield client


class Project:
    """A folder with a `prefect.yaml` of its own, deployed to a real server."""

    def __init__(self, root: Path, client: SyncPrefectClient) -> None:
        self.root = root
        self.declared = Declared(root)
        self.client = client
        (root / "deployments").mkdir()
        shutil.copy(CHECKOUT / "deployments" / "automations.yaml", root / "deployments")

    def deploy(self, *deployments: dict[str, Any]) -> list[str]:
        """Declare these deployments and no others; give what deploying them told."""
        pool = {"name": "ittybatch"}
        usual = {"entrypoint": "ittybatch.flows.run_batch.run_batch", "work_pool": pool, "pull": []}
        document = {"deployments": [usual | each for each in deployments]}
        (self.root / "prefect.yaml").write_text(yaml.safe_dump(document))
        told: list[str] = []
        deploy(declared=self.declared, tell=told.append)
        return told

    def active(self, name: str) -> list[str]:
        found = self.client.read_deployment_by_name(name)
        return [str(each.schedule) for each in found.schedules if each.active]

    def coming_runs(self, name: str) -> list[object]:
        found = self.client.read_deployment_by_name(name)
        return list(self.client.get_scheduled_flow_runs_for_deployments([found.id]))


@pytest.fixture
def project(tmp_path: Path, prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> Project:
    # `prefect deploy` is a process of its own.
    monkeypatch.setenv("PREFECT_API_URL", str(prefect.api_url))
    return Project(tmp_path, prefect)


def test_a_schedule_that_is_taken_out_of_the_file_starts_nothing_any_more(
    project: Project,
) -> None:
    """And deploying it says which; declared again, it runs again."""
    project.deploy({"name": "nightly", "schedules": [CRON]})
    assert len(project.active(NIGHTLY)) == 1
    told = project.deploy({"name": "nightly"})
    assert project.active(NIGHTLY) == []
    assert project.coming_runs(NIGHTLY) == []
    [said] = [line for line in told if "INACTIVE" in line]
    assert "`0 2 * * *` of run-batch/nightly" in said
    assert not any("INACTIVE" in line for line in project.deploy({"name": "nightly"}))
    project.deploy({"name": "nightly", "schedules": [CRON]})
    assert len(project.active(NIGHTLY)) == 1


def test_a_schedule_that_is_changed_is_replaced(project: Project) -> None:
    """`active: false` is heeded, too; the old time is gone."""
    project.deploy({"name": "nightly", "schedules": [CRON]})
    told = project.deploy({"name": "nightly", "schedules": [{**CRON, "cron": "0 5 * * *"}]})
    [left] = project.active(NIGHTLY)
    assert "0 5 * * *" in left
    assert not any("INACTIVE" in line for line in told)
    project.deploy({"name": "nightly", "schedules": [{**CRON, "active": False}]})
    assert project.active(NIGHTLY) == []


def test_one_of_several_named_schedules_is_taken_out(project: Project) -> None:
    """Prefect updates named ones one by one, and would leave the other as it is."""
    early, late = {**CRON, "slug": "early"}, {**CRON, "cron": "0 9 * * *", "slug": "late"}
    project.deploy({"name": "named", "schedules": [early, late]})
    assert len(project.active("run-batch/named")) == 2
    project.deploy({"name": "named", "schedules": [late]})
    [left] = project.active("run-batch/named")
    assert "0 9 * * *" in left


def test_a_deployment_that_is_renamed_or_removed_starts_nothing_any_more(
    project: Project,
) -> None:
    """It stays, for batches may still be under way; its schedule does not."""
    project.deploy({"name": "old-name", "schedules": [CRON]})
    assert leftover_schedules(project.client, project.declared.prefect_file) == []
    told = project.deploy({"name": "new-name", "schedules": [CRON]})
    assert project.active("run-batch/old-name") == []
    assert len(project.active("run-batch/new-name")) == 1
    assert any("run-batch/old-name" in line and "does not declare" in line for line in told)


def test_parameters_and_limits_that_are_taken_out_are_taken_back(project: Project) -> None:
    """Or a backfill's options would stay with a deployment that no longer names them."""
    options = {"profile": "web", "options": {"max_submissions": 5}}
    project.deploy({"name": "limited", "parameters": options, "concurrency_limit": 3})
    project.deploy({"name": "limited", "parameters": {"profile": "web"}})
    found = project.client.read_deployment_by_name("run-batch/limited")
    assert found.parameters == {"profile": "web"}
    assert found.global_concurrency_limit is None
    project.deploy({"name": "limited"})
    assert project.client.read_deployment_by_name("run-batch/limited").parameters == {}


def test_an_automation_that_is_taken_out_is_paused(project: Project) -> None:
    """Only ours, by their names."""
    file = project.root / "deployments" / "automations.yaml"
    document = yaml.safe_load(file.read_text())
    [resume] = document["automations"]
    for name in ("ittybatch-extra", "somebody-elses"):
        document["automations"].append({**resume, "name": name})
    file.write_text(yaml.safe_dump(document))
    project.deploy({"name": "nightly"})
    document["automations"] = [resume]
    file.write_text(yaml.safe_dump(document))
    told = project.deploy({"name": "nightly"})
    enabled = {each.name: each.enabled for each in project.client.read_automations()}
    assert enabled == {"ittybatch-resume": True, "ittybatch-extra": False, "somebody-elses": True}
    assert any("ittybatch-extra" in line for line in told)
