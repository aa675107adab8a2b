"""One real stack for all: Prefect on Postgres, a worker, the receiver, the sandbox, S3."""

import csv
import json
import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ittybatch_local import LocalStack, environment
from ittybatch_local.postgres import SERVER_OPTIONS
from ittybatch_local.probes import is_healthy
from ittybatch_local.process import ProcessSpec
from ittybatch_local.supervisor import Supervisor
from tests.conftest import OURS, UNSYNCED
from tests.end_to_end.system import System

# A process that was killed is missed after so long; short, so that tests need not wait.
LEASE_S = "10"


@pytest.fixture(scope="package")
def folder() -> Iterator[Path]:
    """A folder that another account may enter: PostgreSQL does not run as root."""
    made = Path(tempfile.mkdtemp(prefix="ittybatch-end-to-end-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="package")
def running(folder: Path) -> Iterator[System]:
    """The system, started once in a process; it is slow to start, and ends with the last of us."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(OURS):
                patch.delenv(name)
        patch.setenv("ITTYBATCH_LEASE_S", LEASE_S)
        for name, value in UNSYNCED.items():
            patch.setitem(SERVER_OPTIONS, name, value)
        # The local S3 takes any key: one that can be told from other text, should it leak.
        usual, secret = environment._s3, uuid.uuid4().hex
        patch.setattr(
            environment, "_s3", lambda ports: {**usual(ports), "AWS_SECRET_ACCESS_KEY": secret}
        )
        with LocalStack(folder / "home") as stack:
            system = System(stack)
            yield system
            system.close()


@pytest.fixture
def system(running: System, monkeypatch: pytest.MonkeyPatch) -> System:
    """The system, for one test."""
    monkeypatch.setenv("ITTYBATCH_LEASE_S", LEASE_S)
    return running


@pytest.fixture(scope="module")
def _sleepy_chunks(running: System) -> Iterator[None]:
    """A chunk's leg does not stay for jobs that are over at once, as these are: it sleeps."""
    with running.prefect.environment("process-chunk/process-chunk", ITTYBATCH_LINGER_S="0"):
        yield


@pytest.fixture(scope="module")
def _instant_sandbox(running: System, folder: Path) -> Iterator[None]:
    """In the place of the stack's sandbox, one that completes jobs without encoding."""
    url = running.environment["ITTYBIT_API_URL"]
    spec = ProcessSpec(
        name="instant-sandbox",
        command=(
            *(sys.executable, "-m", "ittybatch", "sandbox", "--instant"),
            *("--port", url.rpartition(":")[2], "--state", str(folder / "instant")),
        ),
        log=folder / "instant-sandbox.log",
        environment=running.stack.process_environment(),
        cwd=folder,
        is_ready=is_healthy(f"{url}/healthz"),
    )
    running.stack.stop("sandbox")
    with Supervisor() as supervisor:
        supervisor.launch(spec)
        supervisor.await_ready(spec.name)
        yield
    running.stack.start("sandbox")


@pytest.fixture
def instant_system(system: System, _instant_sandbox: None) -> Iterator[System]:
    """The system with an instant sandbox, which is well again after each test."""
    yield system
    system.wire.strike({})


@pytest.fixture
def manifest(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """A manifest of as many pictures, one job each, as the test asks for."""
    path = tmp_path / "manifest.csv"
    count: int = request.param
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("input", "kind", "options"))
        options = json.dumps({"format": "webp", "width": 320})
        # Of this case alone: what another case has made is not made again.
        name = re.sub(r"\W+", "-", request.node.name)
        rows.writerows((f"s3://library/{name}/{n}.png", "image", options) for n in range(count))
    return {"type": "manifest", "uri": str(path)}


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
