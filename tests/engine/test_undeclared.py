"""Deploying against a real Prefect server: nothing runs that the file does not declare."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.testing.utilities import prefect_test_harness

from ittybatch.engine.deployments import Declared, deploy
from ittybatch.engine.undeclared import Leftover, leftover_schedules
from ittybatch.settings import CHECKOUT

CRON = {"cron": "0 2 * * *", "active": True}


@dataclass(frozen=True)
class Round:
    """What the server had after a deploy, and what the deploy said."""

    said: list[str]
    deployments: dict[str, DeploymentResponse]
    automations: dict[str, bool]
    coming: dict[str, int]
    leftovers: list[Leftover]

    def active(self, name: str) -> list[str]:
        """The active schedules of a deployment."""
        schedules = self.deployments[name].schedules
        return [str(each.schedule) for each in schedules if each.active]

    def inactive(self) -> list[str]:
        """The schedules that the deploy set inactive, of all deployments."""
        said = [line.partition("INACTIVE: ")[2] for line in self.said if "INACTIVE" in line]
        return [line.removesuffix(". It starts no more runs.") for line in said]


class Project:
    """A folder with a `prefect.yaml` of its own, deployed to a real server."""

    def __init__(self, root: Path, client: SyncPrefectClient) -> None:
        self._root = root
        self._client = client
        self._declared = Declared(root)
        (root / "deployments").mkdir()
        given = yaml.safe_load((CHECKOUT / "deployments" / "automations.yaml").read_text())
        [self._resume] = given["automations"]

    def deploy(self, *deployments: dict[str, Any], automations: Sequence[str] = ()) -> Round:
        """Declare these deployments and no others, and more automations like ours."""
        pool = {"name": "ittybatch"}
        usual = {"entrypoint": "ittybatch.flows.run_batch.run_batch", "work_pool": pool, "pull": []}
        document = {"deployments": [usual | each for each in deployments]}
        (self._root / "prefect.yaml").write_text(yaml.safe_dump(document))
        all_automations = [self._resume, *({**self._resume, "name": name} for name in automations)]
        file = self._root / "deployments" / "automations.yaml"
        file.write_text(yaml.safe_dump({"automations": all_automations}))
        said: list[str] = []
        deploy(declared=self._declared, tell=said.append)
        found = {each.name: each for each in self._client.read_deployments()}
        for each in found.values():
            # The server does so, too, within a minute.
            self._client.request(
                "POST",
                "/deployments/{id}/schedule",
                path_params={"id": each.id},
                json={"max_runs": 2},
            )
        return Round(
            said,
            found,
            {each.name: each.enabled for each in self._client.read_automations()},
            {name: self._coming_runs(each) for name, each in found.items()},
            leftover_schedules(self._client, self._declared.prefect_file),
        )

    def _coming_runs(self, deployment: DeploymentResponse) -> int:
        return len(self._client.get_scheduled_flow_runs_for_deployments([deployment.id]))


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Round]]:
    """Four deploys of one file that changes: each is a process that takes seconds."""
    options = {"profile": "web", "options": {"max_submissions": 5}}
    early, late = {**CRON, "slug": "early"}, {**CRON, "cron": "0 9 * * *", "slug": "late"}
    with (
        prefect_test_harness(server_startup_timeout=120),
        get_client(sync_client=True) as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        # `prefect deploy` is a process of its own.
        patch.setenv("PREFECT_API_URL", str(client.api_url))
        project = Project(tmp_path_factory.mktemp("project"), client)
        yield [
            project.deploy(
                {"name": "nightly", "schedules": [CRON]},
                {"name": "changed", "schedules": [CRON]},
                {"name": "named", "schedules": [early, late]},
                {"name": "old-name", "schedules": [CRON]},
                {"name": "limited", "parameters": options, "concurrency_limit": 3},
                automations=("ittybatch-extra", "somebody-elses"),
            ),
            project.deploy(
                {"name": "nightly"},
                {"name": "changed", "schedules": [{**CRON, "cron": "0 5 * * *"}]},
                {"name": "named", "schedules": [late]},
                {"name": "new-name", "schedules": [CRON]},
                {"name": "limited", "parameters": {"profile": "web"}},
            ),
            project.deploy(
                {"name": "nightly"},
                {"name": "changed", "schedules": [{**CRON, "active": False}]},
                {"name": "limited"},
            ),
            project.deploy({"name": "nightly", "schedules": [CRON]}),
        ]


def test_a_schedule_that_is_taken_out_of_the_file_starts_nothing_any_more(
    rounds: list[Round],
) -> None:
    """And deploying it says which; declared again, it runs again."""
    with_it, without, still_without, again = rounds
    assert len(with_it.active("nightly")) == 1
    assert with_it.coming["nightly"]
    assert (without.active("nightly"), without.coming["nightly"]) == ([], 0)
    undeclared = ", a deployment that prefect.yaml does not declare"
    assert sorted(without.inactive()) == [
        "the schedule `0 2 * * *` of run-batch/named",
        "the schedule `0 2 * * *` of run-batch/nightly",
        f"the schedule `0 2 * * *` of run-batch/old-name{undeclared}",
    ]
    assert sorted(still_without.inactive()) == [
        f"the schedule `0 2 * * *` of run-batch/new-name{undeclared}",
        f"the schedule `0 9 * * *` of run-batch/named{undeclared}",
    ]
    assert len(again.active("nightly")) == 1


def test_a_schedule_that_is_changed_is_replaced(rounds: list[Round]) -> None:
    """`active: false` is heeded, too; the old time is gone."""
    _, changed, inactive, _ = rounds
    [left] = changed.active("changed")
    assert "0 5 * * *" in left
    assert not any("run-batch/changed" in line for line in changed.inactive())
    assert inactive.active("changed") == []


def test_one_of_several_named_schedules_is_taken_out(rounds: list[Round]) -> None:
    """Prefect updates named ones one by one, and would leave the other as it is."""
    both, one, *_ = rounds
    assert len(both.active("named")) == 2
    [left] = one.active("named")
    assert "0 9 * * *" in left


def test_a_deployment_that_is_renamed_or_removed_starts_nothing_any_more(
    rounds: list[Round],
) -> None:
    """It stays, for batches may still be under way; its schedule does not."""
    before, after, *_ = rounds
    assert len(before.active("old-name")) == 1
    assert before.leftovers == after.leftovers == []
    assert after.active("old-name") == []
    assert len(after.active("new-name")) == 1
    assert any("run-batch/old-name" in line for line in after.inactive())


def test_parameters_and_limits_that_are_taken_out_are_taken_back(rounds: list[Round]) -> None:
    """Or a backfill's options would stay with a deployment that no longer names them."""
    limited, fewer, none, _ = (each.deployments.get("limited") for each in rounds)
    assert limited
    assert fewer
    assert none
    assert limited.global_concurrency_limit
    assert fewer.parameters == {"profile": "web"}
    assert fewer.global_concurrency_limit is None
    assert none.parameters == {}


def test_an_automation_that_is_taken_out_is_paused(rounds: list[Round]) -> None:
    """Only ours, by their names."""
    before, after, *_ = rounds
    assert set(before.automations.values()) == {True}
    expected = {"ittybatch-resume": True, "ittybatch-extra": False, "somebody-elses": True}
    assert after.automations == expected
    assert any("ittybatch-extra" in line for line in after.said)
