"""A sandbox that answers at once, and the settings of a receiver that sends to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ittybatch.settings import Settings
from tests.intake import harness
from tests.sandbox.harness import Running, running


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """One for each test: the keys of another test's ledger would be in use."""
    with running(instant=True) as up:
        yield up


@pytest.fixture
def settings(tmp_path: Path, sandbox: Running) -> Settings:
    """Settings with two profiles, `web` and `stored`."""
    return harness.settings_of(tmp_path, sandbox.url)
