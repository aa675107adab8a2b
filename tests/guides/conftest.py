"""A sandbox in place of Ittybit, and a receiver in place of each guide's own server."""

from collections.abc import Iterator

import pytest

from tests.receiver.harness import Running as Receiver
from tests.receiver.harness import running as run_receiver
from tests.sandbox.harness import Running as Sandbox
from tests.sandbox.harness import running as run_sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Ittybit's side; it encodes nothing, because the guides' inputs do not exist."""
    with run_sandbox(instant=True) as started:
        yield started


@pytest.fixture
def receiver(ledger_url: str) -> Iterator[Receiver]:
    """Our side, on each database in turn."""
    with run_receiver(ledger_url) as up:
        yield up
