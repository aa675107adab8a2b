"""A Prefect that answers 500 to a leg: its batch is well, so no run of it fails."""

import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from ittybatch.engine.flow_runs import PrefectUnavailable
from ittybatch.ledger import Ledger, runs
from ittybatch.ledger.identity import chunk_owner
from ittybatch.ledger.legs import begin_wait
from ittybatch.ledger.queries import batch_status
from ittybatch.ledger.results import all_job_rows
from ittybatch.ledger.states import RunState
from ittybatch.settings import Settings
from ittybatch.tasks import approve as approving
from ittybatch.tasks import labels
from ittybatch.tasks.artifacts import show_failures, show_progress, show_results
from ittybatch.tasks.leg import LegInterrupted, at_work, suspend
from tests.ledger import library
from tests.prefect.stand_in import prefect_answers

RUN = str(uuid4())


@pytest.fixture(autouse=True)
def _prefect(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It answers this to everything; its client does not try again, to save the test's time."""
    for module in ("artifacts", "leg"):
        monkeypatch.setattr(
            f"ittybatch.tasks.{module}.get_run_logger", lambda: logging.getLogger("ittybatch")
        )
    monkeypatch.setattr("ittybatch.tasks.leg.this_run", lambda: (RUN, str(uuid4())))
    with (
        prefect_answers((500, {"detail": "not now"})),
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
    ):
        yield


@pytest.mark.filterwarnings("ignore:Artifact creation outside", "ignore:unclosed <socket")
def test_an_artifact_that_prefect_does_not_take_is_a_warning(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    batch, _ = library.planned_chunk(ledger, "a.mov")
    status = ledger.read(batch_status, batch)
    show_progress(status, "0 of 1 jobs ended")
    show_results(status, list(all_job_rows(ledger, batch)))
    reason = {"jobs": 1, "state": "failed", "example": "s3://media/a.mov"}
    show_failures(
        status, [{**reason, "error_kind": "invalid_input", "error_message": "no video stream"}]
    )
    for what in ("progress", "results", "failures"):
        assert f"No artifact shows the {what}: Prefect's API answered" in caplog.text
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    gc.collect()  # Prefect does not close the clients that it makes for artifacts


def test_a_leg_that_prefect_does_not_suspend_is_interrupted(ledger: Ledger) -> None:
    """The ledger says that the run waits, so it is replaced once its process has ended."""
    _, chunk = library.planned_chunk(ledger, "a.mov")
    owner = chunk_owner(chunk)

    def work() -> None:
        with at_work(ledger, owner, 60) as leg:
            assert leg is not None
            assert ledger.write(begin_wait, leg)
            suspend("chunk-leg-1", 60, "Waits.")

    with pytest.raises(LegInterrupted, match=r"answered \d+ on the request to suspend this flow"):
        work()
    run = ledger.read(runs.read_run, owner)
    assert run is not None
    assert run.state is RunState.WAITING


def test_an_approval_that_cannot_be_asked_for_and_a_name_that_cannot_be_read(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one is asked for again by another run, and the other is only part of a name."""

    def ask_prefect(**_: object) -> list[FlowRun]:
        with get_client(sync_client=True) as client:
            return client.read_flow_runs()

    class Deployment:
        @property
        def name(self) -> str:
            return str(ask_prefect())

    monkeypatch.setattr(approving, "suspend_flow_run", ask_prefect)
    batch = library.new_batch(ledger)
    with pytest.raises(PrefectUnavailable, match="ask for approval"):
        approving._ask(batch, Settings(home=Path("nowhere")), 1)
    monkeypatch.setattr(labels, "deployment", Deployment())
    assert labels.deployment_name() is None
