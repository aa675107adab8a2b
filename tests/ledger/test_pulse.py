"""The pulse: jobs that ended, minute by minute."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.control import cancel_batch
from ittybatch.ledger.pulse import ended_lately, pulse
from ittybatch.ledger.queries import batch_status, recent_batches
from ittybatch.ledger.settlement import settle
from tests.ledger import library

HOUR = timedelta(hours=1)


def _ended(ledger: Ledger, name: str, *minutes_ago: int) -> tuple[str, int]:
    """A released chunk whose jobs succeeded so many minutes ago; the first has failed."""
    jobs = [library.job(f"{name}{number}.mov", attempts=1) for number in range(len(minutes_ago))]
    chunk, sent = library.claimed(ledger, *jobs)
    library.accept(ledger, sent, name)
    now = ledger.read(lambda tx: tx.now)
    for number, minutes in enumerate(minutes_ago):
        task = f"{name}-{number}"
        end = library.remote(task) if number else library.failed(task)
        ledger.write(settle, [replace(end, finished_at=now - timedelta(minutes=minutes))])
    return library.place(ledger, chunk).batch_id, chunk


def test_every_job_that_ended_is_in_one_stretch_before_and_after_its_chunk_is_done(
    ledger: Ledger,
) -> None:
    first, chunk = _ended(ledger, "a", 1, 1, 30, 90)
    second, _ = _ended(ledger, "b", 2)
    for _ in range(2):
        bars = ledger.read(pulse, HOUR)
        assert len(bars) == 60
        assert sum(bar.succeeded for bar in bars) == 2, "the fourth ended before this hour"
        assert sum(bar.other for bar in bars) == 2
        assert [bars[place + 1].at - bars[place].at for place in range(59)] == [HOUR / 60] * 59
        of_one = ledger.read(pulse, HOUR, batch=first)
        assert sum(bar.succeeded + bar.other for bar in of_one) == 3
        assert sum(bar.other for bar in ledger.read(pulse, HOUR, batch=second)) == 1
        of_day = ledger.read(pulse, 24 * HOUR, 96)
        assert sum(bar.succeeded + bar.other for bar in of_day) == 5
        ledger.write(finish_chunk, chunk)


def test_jobs_that_were_never_sent_are_no_part_of_the_pulse(ledger: Ledger) -> None:
    """A batch of a million jobs that is cancelled would dwarf all others."""
    batch = library.planned_batch(ledger, library.job("a.mov"), library.job("b.mov"))
    library.released_chunk(ledger, batch)
    ledger.write(cancel_batch, batch, "Enough.")
    assert sum(bar.other for bar in ledger.read(pulse, HOUR)) == 0


def test_a_stretch_is_whole_minutes(ledger: Ledger) -> None:
    for over, bars in [(HOUR, 50), (timedelta(seconds=30), 1), (timedelta(0), 1)]:
        with pytest.raises(ValueError, match="whole minutes"):
            ledger.read(pulse, over, bars)


def test_the_speed_of_several_batches_is_read_at_once(ledger: Ledger) -> None:
    first, chunk = _ended(ledger, "a", 5, 5, 5)
    second, _ = _ended(ledger, "b", 60)
    for _ in range(2):
        speeds = ledger.read(ended_lately, [first, second])
        assert speeds == {first: pytest.approx(3 / 5, rel=0.2)}
        ledger.write(finish_chunk, chunk)


def test_a_list_of_batches_has_the_numbers_of_each(ledger: Ledger) -> None:
    """With as many statements as for one."""
    batches = [_ended(ledger, "a", 5, 5)[0], library.new_batch(ledger).id]
    listed = {each.id: each for each in ledger.read(recent_batches)}
    assert listed == {each: ledger.read(batch_status, each) for each in batches}
    first = listed[batches[0]]
    assert (first.counts["succeeded"], first.counts["failed"], first.sent) == (1, 1, 2)
    assert (first.chunks, first.counts["jobs"], first.counts["items"]) == (1, 2, 2)
