"""Prefect and Ittybit as far as the engine reaches them, served on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.testing.utilities import prefect_test_harness

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.migrate import upgrade
from tests.engine.doorway import Doorway, doorway
from tests.engine.scene import Scene
from tests.sandbox.harness import Running, running


@pytest.fixture(scope="module")
def prefect() -> Iterator[SyncPrefectClient]:
    """A real server with the deployments that make runs, and no worker for them."""

    @flow(name="process-chunk")
    def chunk_flow(chunk_id: int) -> None:
        del chunk_id

    @flow(name="run-batch")
    def batch_flow(source: dict[str, str], profile: str, options: dict[str, str]) -> None:
        del source, profile, options

    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="ittybatch", type="process"))
        client.create_deployment(
            flow_id=client.create_flow(chunk_flow),
            name="process-chunk",
            work_pool_name="ittybatch",
            entrypoint="ittybatch.flows.process_chunk.process_chunk",
        )
        client.create_deployment(
            flow_id=client.create_flow(batch_flow),
            name="adhoc",
            work_pool_name="ittybatch",
            entrypoint="ittybatch.flows.run_batch.run_batch",
        )
        yield client


@pytest.fixture
def scene(ledger: Ledger, prefect: SyncPrefectClient) -> Scene:
    return Scene(ledger, prefect)


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """A sandbox that completes jobs without encoding."""
    with running(instant=True) as up:
        yield up


@pytest.fixture
def door(sandbox: Running) -> Iterator[Doorway]:
    """A way to the sandbox on which a test can lose and change answers."""
    with doorway(sandbox.url) as up:
        yield up


@pytest.fixture
def no_look_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are sent without a look for another ledger's, which would meet the trouble first."""
    monkeypatch.setattr("ittybatch.engine.sending._SAMPLE", 0)


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Ledger]:
    """The ledger that the project's jobs were made from; the second one is `ledger`."""
    opened = Ledger(create_ledger_engine(f"sqlite:///{tmp_path / 'first.db'}"))
    upgrade(opened)
    yield opened
    opened.close()
