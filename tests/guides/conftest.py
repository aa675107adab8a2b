"""A sandbox in place of Ittybit, and a receiver in place of each guide's own server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guides.server import Server, serving
from tests.receiver.harness import Running as Receiver
from tests.receiver.harness import running as run_receiver
from tests.sandbox.harness import Running as Sandbox
from tests.sandbox.harness import running as run_sandbox
from tests.sinks.conftest import app_url, run

__all__ = ["app_url", "run"]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Ittybit's side; it encodes nothing, because the guides' inputs do not exist."""
    faults = {"jobs": [{"match": {"input": "*broken*"}, "action": "fail_always"}]}
    with run_sandbox(instant=True, faults=faults) as started:
        yield started


@pytest.fixture
def receiver(ledger_url: str) -> Iterator[Receiver]:
    """Our webhook route, on each database in turn."""
    with run_receiver(ledger_url) as up:
        yield up


@pytest.fixture
def server(
    sandbox: Sandbox, ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """The whole receiver, with an API token and nothing declared, on each database in turn."""
    # Jobs are sent through no proxy, whatever the machine has.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(sandbox, ledger_url, tmp_path) as started:
        yield started
