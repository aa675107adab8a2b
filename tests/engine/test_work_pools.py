"""Work pools come from `prefect.yaml`: on a real server, with and without `ittybatch deploy`."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.testing.utilities import prefect_test_harness
from pydantic import SecretStr

from ittybatch.engine.deployments import Declared, deploy
from ittybatch.engine.prefect_checks import check_prefect
from ittybatch.engine.work_pools import WrongPoolType, declared_pools
from ittybatch.errors import ConfigurationError
from ittybatch.prefect import IttybitCredentials
from ittybatch.settings import CHECKOUT, Settings
from ittybatch.tasks.credentials import with_credentials

IMAGE = "registry.example.com/ittybatch:0.5.0"
CONTAINERS = {
    "name": "containers",
    "type": "docker",
    "work_queue_name": "night",
    "job_variables": {"image": IMAGE, "env": {"ITTYBATCH_CREDENTIALS_BLOCK": "studio"}},
}


@pytest.fixture(scope="module")
def server() -> Iterator[SyncPrefectClient]:
    """A real server."""
    with (
        prefect_test_harness(server_startup_timeout=120),
        get_client(sync_client=True) as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        # `prefect deploy` is a process of its own.
        patch.setenv("PREFECT_API_URL", str(client.api_url))
        yield client


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the project's own files and nothing else."""
    shutil.copy(CHECKOUT / "prefect.yaml", tmp_path)
    (tmp_path / "deployments").mkdir()
    shutil.copy(CHECKOUT / "deployments" / "automations.yaml", tmp_path / "deployments")
    return tmp_path


def declare(folder: Path, *deployments: dict[str, Any]) -> Path:
    """Write a `prefect.yaml` with these deployments."""
    usual = {"entrypoint": "ittybatch.flows.run_batch.run_batch", "pull": []}
    path = folder / "prefect.yaml"
    path.write_text(yaml.safe_dump({"deployments": [usual | each for each in deployments]}))
    return path


def prefect_deploy(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Prefect's own command there."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_prefect_deploys_the_file_alone_once_its_pool_exists(
    server: SyncPrefectClient, copy: Path
) -> None:
    """Without the pool it says which is missing; with it, what it leaves out."""
    refused = prefect_deploy(copy)
    assert refused.returncode != 0
    assert "'ittybatch' which does not exist" in " ".join((refused.stdout + refused.stderr).split())
    assert server.read_deployments() == []

    server.create_work_pool(WorkPoolCreate(name="ittybatch", type="process"))
    done = prefect_deploy(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    declared = yaml.safe_load((copy / "prefect.yaml").read_text())["deployments"]
    assert {each.name for each in server.read_deployments()} == {each["name"] for each in declared}
    said = " ".join(done.stdout.split())
    assert said.count("leaves out the work pool, the automations and the blocks") == 1


def test_pool_type_queue_and_job_variables_are_those_of_the_file(
    server: SyncPrefectClient, copy: Path
) -> None:
    """Each pool that the file names is created once, and has the same limit."""
    process = {"name": "machines", "type": "process"}
    declare(
        copy,
        {"name": "contained", "work_pool": CONTAINERS},
        {"name": "nearby", "work_pool": process},
    )
    said: list[str] = []
    deploy(declared=Declared(copy), concurrency=5, python="/opt/python", tell=said.append)
    found = {
        name: (pool.type, pool.concurrency_limit)
        for name in ("containers", "machines")
        for pool in [server.read_work_pool(name)]
    }
    assert found == {"containers": ("docker", 5), "machines": ("process", 5)}
    contained = server.read_deployment_by_name("run-batch/contained")
    assert (contained.work_pool_name, contained.work_queue_name) == ("containers", "night")
    assert contained.job_variables == CONTAINERS["job_variables"]
    assert server.read_deployment_by_name("run-batch/nearby").work_pool_name == "machines"
    command = server.read_work_pool("machines").base_job_template["variables"]["properties"]
    assert command["command"]["default"] == "/opt/python -m prefect.engine"
    assert "Work pool containers (docker) created: 5 concurrent flow runs." in said

    again: list[str] = []
    shown = deploy(declared=Declared(copy), tell=again.append).deployments
    assert "Work pool containers (docker) unchanged: 5 concurrent flow runs." in again
    assert set(shown) == {"run-batch/contained", "run-batch/nearby"}


def test_a_pool_of_another_type_is_not_touched(server: SyncPrefectClient, copy: Path) -> None:
    """Prefect cannot change it, and workers of the wrong type would start nothing."""
    server.create_work_pool(WorkPoolCreate(name="changing", type="process"))
    kubernetes = {**CONTAINERS, "name": "changing", "type": "kubernetes"}
    declare(copy, {"name": "moving", "work_pool": kubernetes})
    with pytest.raises(WrongPoolType, match="No deployment was changed") as refused:
        deploy(declared=Declared(copy))
    assert "prefect work-pool delete changing" in str(refused.value)
    assert server.read_work_pool("changing").type == "process"
    assert "moving" not in {each.name for each in server.read_deployments()}


def test_the_doctor_looks_for_a_worker_of_each_pool(
    server: SyncPrefectClient, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool without one starts nothing."""
    server.create_work_pool(WorkPoolCreate(name="without-worker", type="process"))
    declare(
        copy,
        {"name": "first", "work_pool": {"name": "without-worker"}},
        {"name": "second", "work_pool": {"name": "not-there"}},
    )
    monkeypatch.chdir(copy)
    found = [each for each in check_prefect() if each.check == "Worker"]
    texts = [f"{each.what} {each.remedy}" for each in found]
    assert len(texts) == 2
    assert "prefect worker start --pool without-worker" in texts[0]
    assert "There is no work pool not-there." in texts[1]


def test_a_run_takes_the_credentials_of_the_block_that_its_job_variables_name(
    server: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a block the environment counts; a block that is not there stops the run."""
    assert server.api_url
    monkeypatch.setenv("ITTYBIT_API_KEY", "key-of-the-worker")
    assert with_credentials(Settings()).api_key == SecretStr("key-of-the-worker")
    monkeypatch.setenv("ITTYBATCH_CREDENTIALS_BLOCK", "studio")
    with pytest.raises(ConfigurationError, match=r"'studio'.*Nothing was sent") as refused:
        with_credentials(Settings())
    assert "Blocks" in str(refused.value)
    IttybitCredentials(api_key=SecretStr("key-of-the-studio")).save("studio")
    assert with_credentials(Settings()).api_key == SecretStr("key-of-the-studio")


def test_one_pool_has_one_type(tmp_path: Path) -> None:
    """The file is refused before anything is deployed."""
    path = declare(
        tmp_path,
        {"name": "first", "work_pool": {"name": "ours", "type": "docker"}},
        {"name": "silent", "work_pool": {"name": "ours"}},
        {"name": "second", "work_pool": {"name": "ours", "type": "process"}},
    )
    with pytest.raises(WrongPoolType, match=r"'second'.*'ours'.*'process'.*'docker'"):
        declared_pools(path)
