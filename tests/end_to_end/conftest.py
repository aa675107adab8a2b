"""One real stack for all: Prefect on Postgres, a worker, the receiver, the sandbox, S3."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ittybatch.stack import LocalStack, make_media
from tests.conftest import OURS
from tests.end_to_end.first_batches import FirstBatches, run_first_batches
from tests.end_to_end.system import System

# A process that was killed is missed after so long; short, so that tests need not wait.
LEASE_S = "10"


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder that another account may enter: PostgreSQL does not run as root."""
    made = Path(tempfile.mkdtemp(prefix="ittybatch-end-to-end-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def library(folder: Path) -> Path:
    """Videos with sound, recordings and pictures."""
    media = folder / "media"
    make_media(media)
    return media


@pytest.fixture(scope="session")
def running(folder: Path) -> Iterator[System]:
    """The system, started once; it is slow to start."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(OURS):
                patch.delenv(name)
        patch.setenv("ITTYBATCH_LEASE_S", LEASE_S)
        with LocalStack(folder / "home") as stack:
            system = System(stack)
            yield system
            system.close()


@pytest.fixture(scope="session")
def first_batches(running: System, library: Path, folder: Path) -> FirstBatches:
    """Three batches that run at the same time, over real media."""
    return run_first_batches(running, library, folder)


@pytest.fixture
def system(running: System, monkeypatch: pytest.MonkeyPatch) -> System:
    """The system, for one test."""
    monkeypatch.setenv("ITTYBATCH_LEASE_S", LEASE_S)
    return running


@pytest.fixture
def without_automation(system: System) -> Iterator[None]:
    """Somebody has deleted the automation that resumes runs."""
    automations = system.prefect.automations()
    for automation in automations:
        system.prefect.delete_automation(automation["id"])
    assert system.prefect.automations() == []
    yield
    for automation in automations:
        system.prefect.create_automation(automation)
