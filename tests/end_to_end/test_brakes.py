"""Brakes on a whole batch: what is not sent while something is wrong is not paid for."""

import pytest

from ittybatch.ledger.states import BatchState
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

pytestmark = pytest.mark.timeout(600)


def _of(count: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("manifest", [count], indirect=True, ids=str)


@_of(60)
def test_a_canary_that_fails_holds_the_rest_until_somebody_has_looked(
    instant_system: System, manifest: dict[str, str]
) -> None:
    """Ten jobs are paid for and not sixty; `ittybatch resume` lets the others go."""
    system = instant_system
    error = {"kind": "invalid_input", "message": "the file is not media"}
    system.wire.strike({"jobs": [{"action": "fail_always", "error": error}]})
    batch = system.begin(manifest, canary_items=10)
    held = until(
        lambda: status if (status := system.status(batch)).state is BatchState.HELD else None,
        "the batch is held",
        within_s=120,
    )
    assert "10 of the canary's 10 jobs failed" in str(held.reason)
    assert len(system.wire.jobs(batch)) == 10

    system.wire.strike({})
    assert system.command("resume", batch).returncode == 0
    assert system.await_end(batch).state is BatchState.SOME_FAILED
    assert system.counted(batch) == {"failed": 10, "succeeded": 50}
    system.assert_both_sides_agree(batch)
