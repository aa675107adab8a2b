"""A receiver on each database in turn."""

from collections.abc import Iterator

import pytest

from tests.receiver.harness import Running, running


@pytest.fixture
def receiver(ledger_url: str) -> Iterator[Running]:
    """A receiver on the ledger of the test."""
    with running(ledger_url) as up:
        yield up
