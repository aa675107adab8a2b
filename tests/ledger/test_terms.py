"""SendLimits: what a chunk may send while people pause and tune its batch."""

import pytest
from sqlalchemy import select

from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import change_options
from ittybatch.ledger.brakes import send_limits_of
from ittybatch.ledger.chunks import release_chunks
from ittybatch.ledger.control import cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.identity import chunk_owner, owned_chunk
from ittybatch.ledger.legs import begin_leg
from ittybatch.ledger.models import Chunk
from ittybatch.ledger.submission import claim_due
from tests.ledger import library


def _released(ledger: Ledger, chunks: int) -> tuple[str, list[int]]:
    """A batch of chunks of two jobs each, released, and each with a leg that is awake."""
    jobs = [library.job(f"{number}.mov") for number in range(2 * chunks)]
    batch = library.planned_batch(ledger, *jobs, chunk_size=2)
    owners = ledger.write(release_chunks, batch, chunks)
    for owner in owners:
        ledger.write(begin_leg, owner, None)
    return batch, [chunk for owner in owners if (chunk := owned_chunk(owner)) is not None]


def test_a_chunk_of_a_running_batch_sends_as_fast_as_it_goes(ledger: Ledger) -> None:
    """Unless somebody has said otherwise."""
    _, [chunk] = _released(ledger, 1)
    terms = ledger.read(send_limits_of, chunk)
    assert (terms.sending, terms.rate_per_s) == (True, None)


def test_chunks_share_a_rate_however_many_may_be_active(ledger: Ledger) -> None:
    """A batch that was slowed to two chunks still has those that were released before."""
    batch, chunks = _released(ledger, 4)
    ledger.write(change_options, batch, {"submit_per_s": 20, "max_active_chunks": 2})
    assert [ledger.read(send_limits_of, chunk).rate_per_s for chunk in chunks] == [5] * 4


def test_a_chunk_that_has_sent_everything_leaves_its_share_to_the_others(ledger: Ledger) -> None:
    """A batch's last chunk has all of the rate."""
    batch, [first, second] = _released(ledger, 2)
    ledger.write(change_options, batch, {"submit_per_s": 20})
    sent = ledger.write(claim_due, first, 10)
    assert ledger.read(send_limits_of, second).rate_per_s == 10, "claimed is not sent"
    library.accept(ledger, sent)
    assert ledger.read(send_limits_of, second).rate_per_s == 20


def test_a_chunk_whose_leg_has_not_begun_takes_no_share(ledger: Ledger) -> None:
    """Its process may take its time to start."""
    jobs = [library.job(f"{number}.mov") for number in range(4)]
    batch = library.planned_batch(ledger, *jobs, chunk_size=2)
    ledger.write(release_chunks, batch, 2)
    ledger.write(change_options, batch, {"submit_per_s": 20})
    first, _ = (
        row.id
        for row in ledger.read(
            lambda tx: tx.rows(
                select(Chunk.id).where(Chunk.batch_id == batch).order_by(Chunk.number)
            )
        )
    )
    ledger.write(begin_leg, chunk_owner(first), None)
    assert ledger.read(send_limits_of, first).rate_per_s == 20


@pytest.mark.parametrize("stop", [hold_batch, cancel_batch])
def test_nothing_new_is_sent_of_a_batch_that_was_stopped(ledger: Ledger, stop: object) -> None:
    """Paused or cancelled; `resume` lets a paused one go on."""
    batch, [chunk] = _released(ledger, 1)
    assert callable(stop)
    ledger.write(stop, batch, "Somebody said so.")
    assert not ledger.read(send_limits_of, chunk).sending
    if stop is hold_batch:
        ledger.write(resume_batch, batch)
        assert ledger.read(send_limits_of, chunk).sending
