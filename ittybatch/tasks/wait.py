"""Wait: suspend until the ledger has news. A run that cannot suspend waits in its process."""

import time

from prefect.logging import get_run_logger

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.chunks import chunk_of
from ittybatch.ledger.legs import Leg, begin_wait, has_news, is_suspended
from ittybatch.ledger.queries import batch_status
from ittybatch.settings import Settings
from ittybatch.tasks.leg import in_place, new_leg, suspend
from ittybatch.tasks.poll import poll

_CHECK_EVERY_S = 0.5
_LINGER_CHECK_EVERY_S = 0.1
# If no job ends for this long, assume that the others need more time.
_LULL_S = 2.0


def wait(ledger: Ledger, settings: Settings, leg: Leg, *, chunk: int | None = None) -> Leg | None:
    """Wait for a reason to continue.

    In a deployed run this rarely returns: the process ends, and another one runs the flow again.
    The process stays only if jobs of a chunk are about to end.

    The ledger records the wait before Prefect suspends the run, so that no news is lost in between.
    Prefect suspends a run once per key, so the key contains the leg's number.

    Returns:
        The next leg; None if another run has replaced this one. The same leg if an operator
        suspended the run in the Prefect UI meanwhile: its batch is held, so it has to end.
    """
    if in_place():
        _wait_in_process(ledger, settings, leg, chunk)
        return new_leg(ledger, leg.owner, after=leg)
    if chunk is not None and _linger(ledger, leg, chunk, settings.linger_s):
        return new_leg(ledger, leg.owner, after=leg)
    if not ledger.write(begin_wait, leg):
        return leg if ledger.read(is_suspended, leg) else None
    get_run_logger().info("Nothing to do until there is news: suspending.")
    kind = "batch-wait" if chunk is None else "chunk-leg"
    reason = ledger.read(_what_for, leg, chunk)
    suspend(f"{kind}-{leg.number}", settings.suspend_timeout_s, reason)
    return new_leg(ledger, leg.owner, after=leg)


def _linger(ledger: Ledger, leg: Leg, chunk: int, at_most_s: float) -> bool:
    """Wait in this process while jobs keep ending, at most as long as a new process would take.

    Returns:
        Whether there is a reason to continue.
    """
    if not ledger.write(begin_wait, leg, in_place=True):
        return False
    began = ended_at = time.monotonic()
    in_flight = ledger.read(chunk_of, chunk).in_flight
    while (now := time.monotonic()) - began < at_most_s and now - ended_at < _LULL_S:
        if ledger.read(has_news, leg):
            return True
        time.sleep(_LINGER_CHECK_EVERY_S)
        if (left := ledger.read(chunk_of, chunk).in_flight) < in_flight:
            in_flight, ended_at = left, now
    return False


def _wait_in_process(ledger: Ledger, settings: Settings, leg: Leg, chunk: int | None) -> None:
    ledger.write(begin_wait, leg, in_place=True)
    asked_at = time.monotonic()
    while not ledger.read(has_news, leg):
        time.sleep(_CHECK_EVERY_S)
        if chunk is not None and time.monotonic() - asked_at >= settings.silence_s:
            poll(ledger, settings, chunk)
            asked_at = time.monotonic()


def _what_for(transaction: Transaction, leg: Leg, chunk: int | None) -> str:
    """Describe what a run waits for, as the message of its state in the Prefect UI."""
    if chunk is None:
        status = batch_status(transaction, leg.batch_id)
        return (
            f"Waits for {status.chunks - status.chunks_done:,} of {status.chunks:,} chunks: flow "
            f"runs tagged batch:{leg.batch_id}."
        )
    place = chunk_of(transaction, chunk)
    reasons = []
    if place.in_flight:
        reasons.append(f"{place.in_flight:,} jobs at Ittybit to end")
    if place.planned:
        reasons.append(f"{place.planned:,} jobs to become due")
    waits = " and ".join(reasons) or "news"
    return f"Waits for {waits}; chunk {place.number} of {place.of} of batch {place.batch_id}."
