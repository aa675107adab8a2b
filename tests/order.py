"""Which tests share a process, and which begin first: what is long should not come last."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# Their tests are about the same few batches, which take minutes.
_TOGETHER = "tests/end_to_end/media/"
# The folders and files whose tests take longest, longest first.
_FIRST = (
    _TOGETHER,
    "tests/end_to_end/test_accidents.py",
    "tests/end_to_end/test_asleep.py",
    "tests/end_to_end/test_tutorial.py",
    "tests/end_to_end/test_intake_soak.py",
    "tests/end_to_end/test_request_day.py",
    "tests/end_to_end/test_approval.py",
    "tests/end_to_end/pages/test_live_batch.py",
    "tests/end_to_end/test_prefect_habits.py",
    "tests/end_to_end/test_installation.py",
    "tests/end_to_end/test_own_flow.py",
    "tests/end_to_end/pages/test_approval_form.py",
    "tests/end_to_end/",
    "tests/ledger/test_state_machine.py",
    "tests/flows/",
    "tests/sinks/test_outage.py",
    "tests/engine/test_undeclared.py",
    "tests/local/",
    "tests/cli/",
    "tests/receiver/",
    "tests/ledger/",
)


class ByFile(LoadFileScheduling):  # type: ignore[misc]  # xdist is not typed
    """A file's tests share a process, and so do those that share their batches."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _TOGETHER if file.startswith(_TOGETHER) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """In the order of the collection, and not those files first that have most tests."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what takes longest."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    found = (n for n, prefix in enumerate(_FIRST) if item.nodeid.startswith(prefix))
    return next(found, len(_FIRST))
