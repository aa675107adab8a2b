"""The sandbox as others use it: the pytest fixture, the command line, and the built wheel."""

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ittybit_sandbox import RunningSandbox
from tests.sandbox.harness import Sink, wait_for

pytest_plugins = ["ittybit_sandbox.pytest_plugin"]

PACKAGE = Path(__file__).parents[2] / "ittybit_sandbox"
JOB = {"input": "s3://library/clip.mp4", "kind": "video"}


def create(sandbox: RunningSandbox, **body: object) -> str:
    answer = httpx.post(
        f"{sandbox.url}/jobs",
        json=JOB | body,
        headers={"Authorization": f"Bearer {sandbox.api_key}"},
    )
    return str(answer.raise_for_status().json()["id"])


def test_the_fixture_is_an_ittybit(ittybit_sandbox: RunningSandbox, sink: Sink) -> None:
    """It accepts its own key and signs with its own secret."""
    job_id = create(ittybit_sandbox, webhook_url=sink.url)
    received = wait_for(lambda: sink.received)[0]
    assert received.body["id"] == job_id
    assert received.is_signed(ittybit_sandbox.webhook_secret)


@pytest.mark.parametrize("_repeat", range(2))
def test_each_test_starts_without_jobs(ittybit_sandbox: RunningSandbox, _repeat: int) -> None:
    """Jobs, counts, faults and endpoints of the test before are gone."""
    assert ittybit_sandbox.jobs() == []
    assert ittybit_sandbox.summary()["jobs_created"] == 0
    create(ittybit_sandbox)
    ittybit_sandbox.inject({"api": {"server_error": {"probability": 1}}})
    with pytest.raises(httpx.HTTPStatusError, match="503"):
        create(ittybit_sandbox)
    assert len(ittybit_sandbox.jobs()) == 1


def test_a_reset_forgets_what_is_on_disk(tmp_path: Path) -> None:
    """A restart after it finds no jobs; jobs after it are kept."""
    from ittybit_sandbox import SandboxConfig, running  # noqa: PLC0415 - as the plugin does

    config = SandboxConfig(port=0, instant=True, state_dir=tmp_path)
    with running(config) as sandbox:
        create(sandbox)
        sandbox.reset()
        kept = create(sandbox)
    with running(config) as sandbox:
        assert [job["id"] for job in sandbox.jobs()] == [kept]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Run `python -m ittybit_sandbox` with a key of its own; yield its URL."""
    command = (sys.executable, "-m", "ittybit_sandbox", "--port", "0", "--instant", "--state")
    environment = os.environ | {"ITTYBIT_API_KEY": "mine", "ITTYBIT_WEBHOOK_SECRET": "new,old"}
    with subprocess.Popen(
        (*command, str(tmp_path)), env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().rpartition(" ")[2].strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_the_module_serves_until_a_signal(served: str, sink: Sink) -> None:
    """It takes the key and the newest of the secrets from the environment."""
    assert create(RunningSandbox(served, "mine", "new"), webhook_url=sink.url)
    assert wait_for(lambda: sink.received)[0].is_signed("new")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--help"], 0, "ITTYBIT_WEBHOOK_SECRET"),
        (["--port", "70000"], 2, "port"),
        (["--faults", "missing.yaml"], 2, "missing.yaml"),
    ],
)
def test_the_module_says_what_is_wrong(arguments: list[str], status: int, said: str) -> None:
    """Help and errors come without a traceback."""
    command = [sys.executable, "-m", "ittybit_sandbox", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_wheel_stands_alone(tmp_path: Path) -> None:
    """It holds the whole package, and works without a checkout."""
    # No network: the build uses the hatchling that is installed here.
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    subprocess.run((*pip, "--wheel-dir", str(tmp_path), str(PACKAGE)), check=True)
    (wheel,) = tmp_path.glob("ittybit_sandbox-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        archive.extractall(tmp_path / "unpacked")
    files = (path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".typed"})
    assert names == {str(path.relative_to(PACKAGE.parent)) for path in files}
    command = (sys.executable, "-P", "-m", "ittybit_sandbox", "--help")
    environment = {"PYTHONPATH": str(tmp_path / "unpacked"), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert b"--dialect" in done.stdout
