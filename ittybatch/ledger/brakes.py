"""Brakes: what stops a batch before it costs more than it is worth.

A ceiling on submissions, a canary before the rest, a circuit that opens while the service is
down, and a stop when job after job fails alike.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select, update

from ittybatch.ittybit.judgement import is_past_end
from ittybatch.ledger.batches import CANARY, hold_batch
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Attempt, Batch, Chunk, Job
from ittybatch.ledger.states import AttemptState, BatchState, ChunkState

_FIRST_PAUSE_S = 30.0
_LONGEST_PAUSE_S = 600.0
# Of so many attempts that ended last, so many have to be there, and fail alike.
_WINDOW = 50
_FEWEST = 20
_ALIKE = 0.9


class Circuit(StrEnum):
    """Whether submissions may leave."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True, slots=True)
class Gate:
    """What a chunk may send now.

    Args:
        batch: Its batch.
        circuit: Whether the service is thought to be up.
    """

    batch: str
    circuit: Circuit


def gate_of(transaction: Transaction, chunk: int) -> Gate:
    """Look at the circuit of a chunk's batch."""
    row = transaction.execute(
        select(Batch.id, Batch.trips, Batch.closed_until)
        .join(Chunk, Chunk.batch_id == Batch.id)
        .where(Chunk.id == chunk)
    ).one()
    if row.trips == 0:
        return Gate(row.id, Circuit.CLOSED)
    still = row.closed_until is not None and row.closed_until > transaction.now
    return Gate(row.id, Circuit.OPEN if still else Circuit.PROBING)


def trip(transaction: Transaction, batch: str) -> float:
    """Let nothing more out of a batch for a while; each time in a row for twice as long.

    Returns:
        Seconds until one submission may try whether the service is up again.
    """
    trips: int = transaction.execute(
        select(Batch.trips).where(Batch.id == batch).with_for_update()
    ).scalar_one()
    pause_s: float = min(_FIRST_PAUSE_S * 2.0 ** min(trips, 20), _LONGEST_PAUSE_S)
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
    """Note that the service takes submissions again."""
    transaction.execute(update(Batch).where(Batch.id == batch).values(trips=0, closed_until=None))


def room_under_ceiling(transaction: Transaction, batch: str, options: dict[str, Any]) -> int | None:
    """Submissions that a batch may still make; None where it has no ceiling.

    Whoever looks does so alone until its transaction ends, so that two chunks cannot both
    take the last of it.
    """
    ceiling = ceiling_of(options)
    if ceiling is None:
        return None
    transaction.serialise(f"ceiling:{batch}")
    return max(0, ceiling - _sent(transaction, batch))


def hold_at_ceiling(transaction: Transaction, batch: str) -> None:
    """Hold a batch that may send nothing more, although a job is due."""
    hold_batch(
        transaction,
        batch,
        f"It has made {_sent(transaction, batch):,} submissions, as many as it was allowed "
        "(max_submissions, max_cost), and has jobs left. A new run with a higher ceiling takes "
        f"them over; or raise max_submissions: `ittybatch tune {batch} --max-submissions N`, "
        f"then `ittybatch resume {batch}`.",
    )


def _sent(transaction: Transaction, batch: str) -> int:
    sent = select(func.coalesce(func.sum(Chunk.sent), 0)).where(Chunk.batch_id == batch)
    return int(transaction.execute(sent).scalar_one())


def ceiling_of(options: dict[str, Any]) -> int | None:
    """The lower of a batch's two ceilings, in submissions."""
    ceilings = []
    if options.get("max_submissions") is not None:
        ceilings.append(int(options["max_submissions"]))
    if options.get("max_cost") is not None and options.get("cost_per_job"):
        # As they were written: three times 0.1 is more than 0.3 in binary.
        cost, each = (Decimal(str(options[name])) for name in ("max_cost", "cost_per_job"))
        ceilings.append(int(cost / each))
    return min(ceilings) if ceilings else None


def hold_if_alike(transaction: Transaction, batch: str) -> bool:
    """Hold a batch whose newest attempts nearly all failed for one reason.

    Something common to them is wrong, and the rest would only be billed to find it out.

    Returns:
        Whether it was held.
    """
    row = transaction.execute(
        select(Batch.state, Batch.resumed_at, Batch.created_at).where(Batch.id == batch)
    ).one()
    if row.state != BatchState.RUNNING:
        return False
    newest = transaction.rows(
        select(Attempt.state, Attempt.error_kind, Attempt.error_message)
        .join(Job, Job.id == Attempt.job_id)
        .where(
            Job.chunk_id.in_(_newest_chunks(transaction, batch)),
            Attempt.completed_at > (row.resumed_at or row.created_at),
        )
        .order_by(Attempt.completed_at.desc())
        .limit(_WINDOW)
    )
    if len(newest) < _FEWEST:
        return False
    reasons = Counter(
        (each.error_kind, each.error_message)
        for each in newest
        if each.state in {AttemptState.FAILED, AttemptState.REFUSED}
        # Short clips say nothing about the other items.
        and not is_past_end(each.error_kind, each.error_message)
    )
    if not reasons:
        return False
    (kind, message), count = reasons.most_common(1)[0]
    if count < _ALIKE * len(newest):
        return False
    hold_batch(
        transaction,
        batch,
        f"{count} of the last {len(newest)} attempts failed alike: {message or kind}",
    )
    return True


def _newest_chunks(transaction: Transaction, batch: str) -> list[int]:
    """Chunks with a batch's newest attempts: those under way, and the last that were done."""
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
    """Whether more than the first chunk may be released; hold the batch if that went badly.

    Returns:
        True where there is no canary, or it has ended well, or an operator has resumed the
        batch after it had not.
    """
    if not options.get("canary_items"):
        return True
    passed = transaction.execute(select(Batch.canary_passed).where(Batch.id == batch)).scalar_one()
    if passed:
        return True
    row = transaction.rows(
        select(Chunk.state, Chunk.succeeded, Chunk.failed, Chunk.expired).where(
            Chunk.batch_id == batch, Chunk.number == CANARY
        )
    )
    if not row or row[0].state != ChunkState.DONE:
        return False
    bad, ended = row[0].failed + row[0].expired, sum(row[0][1:])
    allowed = float(options.get("canary_max_failed_percent", 0))
    if ended and 100 * bad / ended > allowed:
        hold_batch(
            transaction,
            batch,
            f"{bad} of the canary's {ended} jobs failed, more than {allowed:g} %. "
            "Look at `ittybatch failures` before you resume it.",
        )
        return False
    transaction.execute(update(Batch).where(Batch.id == batch).values(canary_passed=True))
    return True
