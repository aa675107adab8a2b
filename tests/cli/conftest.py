"""Commands as a user types them, and a batch for them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.settlement import settle
from tests.command_line import typed
from tests.ledger import library

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(tmp_path: Path, sqlite_url: str) -> dict[str, str]:
    """An empty ledger, and no settings but its own."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "ITTYBATCH_HOME": str(tmp_path / "home"),
        "DATABASE_URL": sqlite_url,
    }


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Runs a command in this process."""

    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return typed(*arguments, environment={**environment, **more}, cwd=tmp_path)

    return call


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Runs a command in a process of its own."""

    def call(
        *arguments: str, stdout: int = subprocess.PIPE, **more: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ittybatch", *arguments],
            env={**environment, **more},
            cwd=tmp_path,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    return call


@pytest.fixture
def batch(sqlite_url: str) -> str:
    """A batch of three jobs: one succeeded, one failed, one at Ittybit."""
    ledger = Ledger(create_ledger_engine(sqlite_url))
    chunk, _ = library.submitted(ledger, *map(library.job, ("a.mov", "b[1].mov", "c.mov")))
    bad = library.failed("task-1", "invalid_input", "could not decode the input")
    ledger.write(settle, [library.remote("task-0"), bad])
    found = library.place(ledger, chunk).batch_id
    ledger.close()
    return found
