"""Claims that a retry has taken over go back to the jobs that it never sent again."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import finish_planning, read_batch
from ittybatch.ledger.control import cancel_batch, hold_batch
from ittybatch.ledger.models import Job
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.quarantine import held_jobs
from ittybatch.ledger.settlement import expire, settle
from ittybatch.ledger.submission import claim_due, return_unsent
from tests.ledger import library


@pytest.mark.parametrize("state", ["failed", "expired"])
@pytest.mark.parametrize("stop", ["paused", "cancelled"])
def test_a_retry_that_stops_while_it_sends_hands_no_held_back_job_to_another_batch(
    ledger: Ledger, state: str, stop: str
) -> None:
    """Its job was claimed and put back. An attempt is in the ledger, and was never sent."""
    batch, chunk = library.planned_chunk(ledger, "a.mov")
    [sent] = ledger.write(claim_due, chunk, 10)
    library.accept(ledger, [sent])
    if state == "failed":
        ledger.write(settle, [library.failed("task-0", "invalid_input", "not media")])
    else:
        past = timedelta(days=1)
        ledger.write(lambda tx: tx.execute(update(Job).values(deadline_at=tx.now - past)))
        ledger.write(expire, sent.job_id)
    retry = library.new_batch(ledger, source={"type": "failed", "batch": batch}).id
    page = library.page(library.job("a.mov"), again=[sent.job_id])
    ledger.write(plan_page, retry, page, after=None, chunk_size=10)
    ledger.write(finish_planning, retry)
    claimed = ledger.write(claim_due, library.released_chunk(ledger, retry), 10)
    ledger.write(hold_batch, retry, "Paused by Ann.")
    ledger.write(return_unsent, [(each.job_id, each.attempt) for each in claimed], 0)
    if stop == "cancelled":
        ledger.write(cancel_batch, retry, "Enough.")
    nightly = library.planned_batch(ledger, library.job("a.mov"))
    assert ledger.read(read_batch, nightly).counts["held_back"] == 1
    assert library.rows(ledger, nightly) == []
    # The paused retry may still make it; after the cancel it is held back as before.
    assert len(ledger.read(held_jobs)) == (1 if stop == "cancelled" else 0)
