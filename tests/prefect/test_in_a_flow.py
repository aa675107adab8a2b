"""A job that a flow starts: with the key of its project, and found again by that flow run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow
from prefect.testing.utilities import prefect_test_harness
from pydantic import SecretStr

from ittybatch.errors import ConfigurationError
from ittybatch.intake.wanted import RequestRefused
from ittybatch.ledger import Ledger
from ittybatch.prefect import IttybitCredentials, IttybitJob, IttybitJobRun
from tests.intake import harness
from tests.sandbox.harness import KEY, Running, running


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def sandbox() -> Iterator[Running]:
    with running(instant=True) as up:
        yield up


@pytest.fixture
def ledger_url(sqlite_url: str) -> str:
    """One database is enough where the ledger has no part in it."""
    return sqlite_url


@pytest.fixture(autouse=True)
def _settings(ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a worker that has the key of another project, and its connection."""
    for name, value in {
        "DATABASE_URL": ledger_url,
        "ITTYBIT_API_KEY": "key-of-the-worker",
        "ITTYBIT_CONNECTION_ID": "conn_ofworker",
        "ITTYBATCH_PROFILES_DIR": str(harness.profiles(tmp_path / "profiles")),
    }.items():
        monkeypatch.setenv(name, value)


def test_a_job_is_sent_for_the_project_of_the_block_that_the_deployment_names(
    sandbox: Running, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the worker's own key, which the sandbox would refuse, nor its connection."""
    IttybitCredentials(api_key=SecretStr(KEY), api_url=sandbox.url).save("studio")
    monkeypatch.setenv("ITTYBATCH_CREDENTIALS_BLOCK", "studio")
    block = IttybitJob(input="s3://media/a.mov", kind="image", options={"width": 96})
    run = block.trigger()
    [sent] = harness.sandbox_jobs(sandbox)
    assert sandbox.client.get(f"/jobs/{sent['id']}").json()["options"] == {"width": 96}
    [job] = harness.jobs(ledger)
    assert (job.id, job.task_id) == (run.job_ids[0], sent["id"])
    ours = IttybitCredentials(api_key=SecretStr("key-of-the-worker"))
    with pytest.raises(ConfigurationError, match="of one Ittybit project"):
        block.model_copy(update={"credentials": ours}).trigger()


def test_without_a_key_nothing_is_made(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow would wait for a job that nobody sends."""
    monkeypatch.delenv("ITTYBIT_API_KEY")
    with pytest.raises(ConfigurationError, match="no API key"):
        IttybitJob(input="s3://media/a.mov", profile="web").trigger()
    assert harness.jobs(ledger) == []


def test_a_flow_run_finds_what_it_has_started_whatever_has_changed_since(
    sandbox: Running, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It slept while its profile was removed: its jobs are made and paid for."""
    monkeypatch.setenv("ITTYBIT_API_KEY", KEY)
    monkeypatch.setenv("ITTYBIT_API_URL", sandbox.url)
    block = IttybitJob(input="s3://media/a.mov", profile="web")

    @flow
    def publish() -> tuple[IttybitJobRun, IttybitJobRun]:
        first = block.trigger()
        (tmp_path / "profiles" / "web.yaml").unlink()
        monkeypatch.delenv("ITTYBIT_API_KEY")
        return first, block.trigger()

    first, second = publish()
    assert (first.batch, first.job_ids) == (second.batch, second.job_ids)
    assert len(harness.jobs(ledger)) == len(harness.sandbox_jobs(sandbox)) == 3
    monkeypatch.setenv("ITTYBIT_API_KEY", KEY)
    with pytest.raises(RequestRefused, match="web"):
        block.trigger()
