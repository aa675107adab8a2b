"""Fixtures with real processes and servers; each test has its own home."""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ittybatch_local.ports import choose_ports
from ittybatch_local.probes import is_healthy
from ittybatch_local.process import ProcessSpec
from ittybatch_local.supervisor import Supervisor

STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that other accounts can search, because PostgreSQL does not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="ittybatch-stack-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def port(home: Path) -> int:
    return choose_ports(["one"], home / "one-port.json")["one"]


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Waits for a condition, and fails if it does not come true in time."""

    def wait(condition: Callable[[], object], within_s: float = 15.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.02)

    return wait


@pytest.fixture
def is_running() -> Callable[[int], bool]:
    """Checks whether a process runs; a zombie does not."""

    def runs(pid: int) -> bool:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False

    return runs


@pytest.fixture
def spec(home: Path) -> Callable[..., ProcessSpec]:
    """Makes the specification of a stand-in service."""

    def make(*arguments: str, name: str = "web", **changes: Any) -> ProcessSpec:  # noqa: ANN401
        return ProcessSpec(
            **{
                "name": name,
                "command": (sys.executable, str(STAND_IN), *arguments),
                "log": home / "logs" / f"{name}.log",
                "environment": {**os.environ, "STAND_IN_HOME": str(home)},
                "cwd": home,
                "grace_s": 2.0,
                "ready_within_s": 20.0,
                **changes,
            }
        )

    return make


@pytest.fixture
def web(spec: Callable[..., ProcessSpec], port: int) -> ProcessSpec:
    """A small web server."""
    return spec("web", "--port", str(port), is_ready=is_healthy(f"http://127.0.0.1:{port}/"))


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def supervisor(events: list[str]) -> Iterator[Supervisor]:
    with Supervisor(events.append) as running:
        yield running
