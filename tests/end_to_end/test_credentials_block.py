"""A deployment names a credentials block, and its runs send with that block's key."""

import pytest

from ittybatch.ledger.states import BatchState
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

pytestmark = pytest.mark.timeout(300)

CHUNK = "process-chunk/process-chunk"


@pytest.mark.parametrize("manifest", [2], indirect=True, ids=str)
def test_a_run_sends_with_the_key_of_the_block_that_its_deployment_names(
    instant_system: System, manifest: dict[str, str]
) -> None:
    """Not with the worker's own, and Prefect shows the name of the block alone."""
    system = instant_system
    url = system.environment["ITTYBIT_API_URL"]
    wrong = {"api_key": "a-key-of-nobody", "api_url": url}
    block = system.prefect.create_block("ittybit-credentials", wrong, name="studio")
    with system.prefect.environment(CHUNK, ITTYBATCH_CREDENTIALS_BLOCK="studio"):
        batch = system.begin(manifest)
        held = until(
            lambda: system.status(batch) if system.status(batch).state is BatchState.HELD else None,
            "the batch is held for the key",
            within_s=120,
        )
        assert "key" in (held.reason or "")
        right = {"api_key": system.environment["ITTYBIT_API_KEY"], "api_url": url}
        system.prefect.update_block(block, right)
        assert system.command("resume", batch).returncode == 0
        assert system.await_end(batch).state is BatchState.SUCCEEDED
    system.prefect.delete_block(block)
