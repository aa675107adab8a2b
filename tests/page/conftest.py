"""A receiver on each database in turn, with its page; and Prefect, as far as levers need it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ittybatch.engine import retrying, starting, steering
from ittybatch.page import new_library
from tests.page.steering import Recorder
from tests.receiver.conftest import receiver

__all__ = ["receiver"]


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """In the place of Prefect, for every lever."""
    recorder = Recorder()

    @contextmanager
    def opened() -> Iterator[Recorder]:
        yield recorder

    for module in (retrying, starting, steering, new_library):
        monkeypatch.setattr(module, "open_flow_runs", opened)
        monkeypatch.setattr(module, "require_prefect", lambda: None)
    return recorder
