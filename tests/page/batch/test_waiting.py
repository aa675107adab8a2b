"""A Prefect that does not answer holds up what needs it, and nothing else."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import StateType

from ittybatch.engine import steering
from ittybatch.engine.run_status import RunStatus
from ittybatch.ledger import Ledger
from ittybatch.ledger.states import BatchState
from tests.page.steering import Page, Recorder, failing, state_of, submitted, words
from tests.receiver.harness import wait_until

_AT_ONCE = 8


def test_what_prefect_says_of_other_flow_runs_is_not_shown(page: Page, prefect: Recorder) -> None:
    """Of ours it is, without secrets."""
    ours = uuid4()
    message = "Flow run failed: Bearer geheim77 was refused."
    prefect.runs[ours] = RunStatus(StateType.FAILED, "Failed", datetime.now(UTC), message)
    for region in ("new", "regions"):
        shown = words(page.get(f"/page/{region}/started/{ours}"))
        assert "Flow run failed: Bearer [redacted] was refused. Nothing was sent." in shown
    page.get(f"/page/new/started/{uuid4()}", 404)
    # A run that is deleted while its page is open: the page stops asking.
    gone = page.get(f"/page/regions/started/{uuid4()}")
    assert "Prefect does not know this flow run any more" in words(gone)
    assert "asking" not in gone


def test_pause_tune_and_cancel_answer_while_prefect_does_not(
    ledger: Ledger, page: Page, prefect: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many retries and looks wait for it."""
    known = SimpleNamespace(api=SimpleNamespace(url="http://prefect.test/api"))
    monkeypatch.setattr(steering, "get_current_settings", lambda: known)
    failed = failing(ledger, 4)
    batch, _ = submitted(ledger, 1)
    at = f"/page/batches/{batch}"
    prefect.answers.clear()
    with ThreadPoolExecutor(3 * _AT_ONCE) as viewers:
        try:
            retries = [
                viewers.submit(page.post, f"/page/batches/{failed}/retry", expected="3")
                for _ in range(_AT_ONCE)
            ]
            wait_until(lambda: prefect.waiting >= 3)
            looks = [
                viewers.submit(page.get, f"/page/new/started/{uuid4()}", 404)
                for _ in range(_AT_ONCE)
            ]
            time.sleep(0.5)  # until the others wait for a thread
            began = time.monotonic()
            assert page.told(page.post(f"{at}/pause")) == (
                f"Done: Batch {batch} is held. Nothing more is sent until it is resumed. "
                "1 job at Ittybit already may still run, and be billed. "
                "The results are recorded."
            )
            tuned = page.post(f"{at}/tune", max_active_chunks="8", was_max_active_chunks="4")
            assert "Active chunks: 8" in page.told(tuned)
            asked = page.get(f"/page/batches/{failed}/retry")
            assert "Retry 3 jobs" in asked
            assert "is cancelled" in page.told(page.post(f"{at}/cancel"))
            assert time.monotonic() - began < 20
            assert not any(each.done() for each in retries)
            assert not any(each.done() for each in looks)
        finally:
            prefect.answers.set()
        assert {each.result().status_code for each in retries} == {303}
        assert all(each.result() for each in looks)
    assert state_of(ledger, batch) is BatchState.CANCELLED
