"""Brakes: what stops a batch before it costs more than it is worth.

A ceiling on submissions, a canary before the rest, a circuit breaker that opens while the service
is down, and a hold when nearly all jobs fail for the same reason.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import exists, func, select, update

from ittybatch.ittybit.failures import is_past_end
from ittybatch.ittybit.options import Kind
from ittybatch.ledger.batches import CANARY
from ittybatch.ledger.control import hold_batch
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.identity import chunk_owner, owned_chunk
from ittybatch.ledger.models import Attempt, Batch, Chunk, Job, Run
from ittybatch.ledger.states import AttemptState, BatchState, ChunkState, JobState, RunState

_MAX_COST, _MAX_SUBMISSIONS = "max_cost", "max_submissions"
_UNSENT = [JobState.PLANNED.value, JobState.SUBMITTING.value]
_FIRST_PAUSE_S = 30.0
_MAX_PAUSE_S = 600.0
# How many of the newest attempts to look at, how many there must be at least, and which share
# of them must fail for the same reason.
_WINDOW = 50
_MIN_ATTEMPTS = 20
_MIN_SHARE = 0.9


class Circuit(StrEnum):
    """Whether submissions may be sent."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True, slots=True)
class Gate:
    """The circuit breaker of a chunk's batch.

    Args:
        batch: The batch.
        circuit: Its state.
    """

    batch: str
    circuit: Circuit


def gate_of(transaction: Transaction, chunk: int) -> Gate:
    """Read the circuit breaker of a chunk's batch."""
    row = transaction.execute(
        select(Batch.id, Batch.trips, Batch.closed_until)
        .join(Chunk, Chunk.batch_id == Batch.id)
        .where(Chunk.id == chunk)
    ).one()
    if row.trips == 0:
        return Gate(row.id, Circuit.CLOSED)
    is_open = row.closed_until is not None and row.closed_until > transaction.now
    return Gate(row.id, Circuit.OPEN if is_open else Circuit.PROBING)


def trip(transaction: Transaction, batch: str) -> float:
    """Open the circuit of a batch for a while: twice as long for each consecutive trip.

    Returns:
        Seconds until one submission may probe the service.
    """
    trips: int = transaction.execute(
        select(Batch.trips).where(Batch.id == batch).with_for_update()
    ).scalar_one()
    pause_s: float = min(_FIRST_PAUSE_S * 2.0 ** min(trips, 20), _MAX_PAUSE_S)
    transaction.execute(
        update(Batch)
        .where(Batch.id == batch)
        .values(
            trips=Batch.trips + 1,
            closed_until=transaction.now + timedelta(seconds=pause_s),
        )
    )
    return pause_s


def recovered(transaction: Transaction, batch: str) -> None:
    """Close the circuit: the service accepts submissions again."""
    transaction.execute(update(Batch).where(Batch.id == batch).values(trips=0, closed_until=None))


def submissions_left(transaction: Transaction, batch: str, options: dict[str, Any]) -> int | None:
    """Submissions that a batch may still make; None if it has no ceiling.

    An advisory lock is held until the transaction ends, so two chunks cannot both use the
    last submission.
    """
    ceiling = ceiling_of(options)
    if ceiling is None:
        return None
    transaction.serialise(f"ceiling:{batch}")
    return max(0, ceiling - _sent(transaction, batch))


def hold_at_ceiling(transaction: Transaction, batch: str, options: dict[str, Any]) -> None:
    """Hold a batch that has reached its ceiling while a job is due."""
    ceilings = _ceilings(options)
    reached = min(ceilings, key=lambda name: ceilings[name])
    tune = (
        f"Or raise it: `ittybatch tune {batch} --max-submissions N`, then "
        f"`ittybatch resume {batch}`."
        if reached == _MAX_SUBMISSIONS
        else f"`{reached}` of this batch cannot be changed."
    )
    hold_batch(
        transaction,
        batch,
        f"It has made {_sent(transaction, batch):,} submissions, the most that `{reached}` allows, "
        "and has jobs left. Start a new run with a higher ceiling: it takes over the remaining "
        f"jobs. {tune}",
    )


def _sent(transaction: Transaction, batch: str) -> int:
    sent = select(func.coalesce(func.sum(Chunk.sent), 0)).where(Chunk.batch_id == batch)
    return int(transaction.execute(sent).scalar_one())


def ceiling_of(options: dict[str, Any]) -> int | None:
    """The lower of a batch's two ceilings, in submissions."""
    return min(_ceilings(options).values(), default=None)


def _ceilings(options: dict[str, Any]) -> dict[str, int]:
    """A batch's ceilings in submissions, by option. Only `max_submissions` can be tuned."""
    ceilings: dict[str, int] = {}
    # Before `max_submissions`: if both are reached, raising that alone has no effect.
    if options.get(_MAX_COST) is not None and options.get("cost_per_job"):
        # Decimals, because in binary three times 0.1 is more than 0.3.
        cost, each = (Decimal(str(options[name])) for name in (_MAX_COST, "cost_per_job"))
        ceilings[_MAX_COST] = int(cost / each)
    if options.get(_MAX_SUBMISSIONS) is not None:
        ceilings[_MAX_SUBMISSIONS] = int(options[_MAX_SUBMISSIONS])
    return ceilings


def hold_if_alike(transaction: Transaction, batch: str) -> bool:
    """Hold a batch whose newest attempts nearly all failed for one reason.

    They share a cause, and the remaining jobs would be billed and fail too.

    Returns:
        Whether it was held.
    """
    row = transaction.execute(
        select(Batch.state, Batch.resumed_at, Batch.created_at).where(Batch.id == batch)
    ).one()
    if row.state != BatchState.RUNNING:
        return False
    newest = transaction.rows(
        select(Attempt.state, Attempt.error_kind, Attempt.error_message, Job.kind)
        .join(Job, Job.id == Attempt.job_id)
        .where(
            Job.chunk_id.in_(_newest_chunks(transaction, batch)),
            Attempt.completed_at > (row.resumed_at or row.created_at),
        )
        .order_by(Attempt.completed_at.desc())
        .limit(_WINDOW)
    )
    if len(newest) < _MIN_ATTEMPTS:
        return False
    reasons = Counter(
        (each.error_kind, each.error_message)
        for each in newest
        if each.state in {AttemptState.FAILED, AttemptState.REFUSED}
        # A clip that ends before `start` says nothing about the other items.
        and not (each.kind == Kind.IMAGE and is_past_end(each.error_kind, each.error_message))
    )
    if not reasons:
        return False
    (kind, message), count = reasons.most_common(1)[0]
    if count < _MIN_SHARE * len(newest):
        return False
    hold_batch(
        transaction,
        batch,
        f"{count} of the last {len(newest)} attempts failed alike: {message or kind}",
    )
    return True


def _newest_chunks(transaction: Transaction, batch: str) -> list[int]:
    """The chunks with a batch's newest attempts: released chunks, and those that ended last."""
    of_batch = select(Chunk.id, Chunk.sent).where(Chunk.batch_id == batch)
    released = transaction.rows(of_batch.where(Chunk.state == ChunkState.RELEASED.value))
    done = transaction.rows(
        of_batch.where(Chunk.state == ChunkState.DONE.value, Chunk.sent > 0)
        .order_by(Chunk.ended_at.desc())
        .limit(_WINDOW)
    )
    found = [row.id for row in released]
    sent = 0
    for row in done:
        if sent >= _WINDOW:
            break
        found.append(row.id)
        sent += row.sent
    return found


def check_canary(transaction: Transaction, batch: str, options: dict[str, Any]) -> bool:
    """Whether more chunks than the canary may be released; hold the batch if the canary failed.

    Returns:
        True if there is no canary, if it has passed, or if an operator has resumed the batch
        after the canary failed.
    """
    if not options.get("canary_items"):
        return True
    passed = transaction.execute(select(Batch.canary_passed).where(Batch.id == batch)).scalar_one()
    if passed:
        return True
    row = transaction.rows(
        select(Chunk.state, Chunk.cancelled, Chunk.succeeded, Chunk.failed, Chunk.expired).where(
            Chunk.batch_id == batch, Chunk.number == CANARY
        )
    )
    if not row or row[0].state != ChunkState.DONE:
        return False
    bad, ended = row[0].failed + row[0].expired, sum(row[0][2:])
    if not ended and row[0].cancelled and _has_more(transaction, batch):
        hold_batch(
            transaction,
            batch,
            f"The canary has shown nothing: all of its jobs ({row[0].cancelled}) were cancelled, "
            f"or another batch makes them. `ittybatch resume {batch}` sends the rest.",
        )
        return False
    allowed = float(options.get("canary_max_failed_percent", 0))
    if ended and 100 * bad / ended > allowed:
        hold_batch(
            transaction,
            batch,
            f"{bad} of the canary's {ended} jobs failed, more than {allowed:g} %. "
            f"Look at `ittybatch failures {batch}` before you resume it.",
        )
        return False
    transaction.execute(update(Batch).where(Batch.id == batch).values(canary_passed=True))
    return True


def _has_more(transaction: Transaction, batch: str) -> bool:
    """Whether chunks after the canary have jobs to send."""
    rest = exists().where(Chunk.batch_id == batch, Chunk.number != CANARY, Chunk.planned > 0)
    return bool(transaction.execute(select(rest)).scalar_one())


@dataclass(frozen=True, slots=True)
class SendLimits:
    """What a chunk may send.

    Args:
        sending: Whether new jobs may be sent: its batch is neither held nor ended.
        rate_per_s: The chunk's share of its batch's limit, in submissions per second, or None
            without a limit.
        cancelled_at: When its batch was cancelled, if it was.
        replaced: Whether the leg that asks has been replaced, so that it may send nothing at all.
    """

    sending: bool
    rate_per_s: float | None
    cancelled_at: datetime | None
    replaced: bool = False


def send_limits_of(
    transaction: Transaction, chunk: int, leg: tuple[int, int] | None = None
) -> SendLimits:
    """Read what a chunk may send now: operators hold and tune batches while they run.

    Args:
        transaction: The transaction to read in.
        chunk: The chunk.
        leg: The generation and number of the leg that sends; None does not check that it is
            still the chunk's.
    """
    batch = transaction.execute(
        select(Batch.id, Batch.state, Batch.ended_at, Batch.options)
        .join(Chunk, Chunk.batch_id == Batch.id)
        .where(Chunk.id == chunk)
    ).one()
    rate_per_s = batch.options.get("submit_per_s")
    replaced = leg is not None and not _is_current(transaction, chunk, leg)
    return SendLimits(
        sending=batch.state == BatchState.RUNNING and not replaced,
        rate_per_s=rate_per_s
        and rate_per_s / len({chunk, *_sending_chunks(transaction, batch.id)}),
        cancelled_at=batch.ended_at if batch.state == BatchState.CANCELLED else None,
        replaced=replaced,
    )


def _is_current(transaction: Transaction, chunk: int, leg: tuple[int, int]) -> bool:
    """Whether a leg is still the one that works for a chunk.

    A process that was frozen for longer than its lease has been replaced. Its successor has looked
    for the jobs that it had claimed.
    """
    run = select(Run.generation, Run.leg).where(Run.owner == chunk_owner(chunk))
    return any((row.generation, row.leg) == leg for row in transaction.rows(run))


def is_sending(transaction: Transaction, batch: str) -> bool:
    """Whether jobs of a batch may be sent: it runs, and its circuit is closed."""
    row = transaction.execute(select(Batch.state, Batch.trips).where(Batch.id == batch)).one()
    return bool(row.state == BatchState.RUNNING and row.trips == 0)


def _sending_chunks(transaction: Transaction, batch: str) -> list[int]:
    """The chunks that share a batch's rate limit: their runs are awake, and jobs are unsent."""
    awake = transaction.rows(
        select(Run.owner).where(Run.batch_id == batch, Run.state == RunState.AWAKE.value)
    )
    chunks = [chunk for row in awake if (chunk := owned_chunk(row.owner)) is not None]
    unsent = exists().where(Job.chunk_id == Chunk.id, Job.state.in_(_UNSENT))
    rows = transaction.rows(select(Chunk.id).where(Chunk.id.in_(chunks), unsent))
    return [row.id for row in rows]
