"""Control of batches: hold, pause, resume, approve and cancel, with the effect on their runs."""

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    String,
    and_,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)

from ittybatch.ledger import identity, runs
from ittybatch.ledger.batches import CANARY, job_totals
from ittybatch.ledger.capacity import wake_next
from ittybatch.ledger.counters import Moves
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.lending import lenders_of, lock_claims, return_claims
from ittybatch.ledger.models import Batch, Chunk, Job, Run
from ittybatch.ledger.notices import Event, notify, notify_chunk_done
from ittybatch.ledger.outbox import note_ended
from ittybatch.ledger.run_moves import Move, move, new_run, next_generation, wake
from ittybatch.ledger.shares import count_shares
from ittybatch.ledger.states import (
    ENDED_BATCHES,
    BatchState,
    ChunkState,
    JobState,
    RunState,
)

_ENDED = [state.value for state in ENDED_BATCHES]
# Only the reason distinguishes a pause from other holds: the state is the same.
_PAUSED = "Paused by "


def hold_batch(transaction: Transaction, batch: str, reason: str) -> None:
    """Stop a batch for a reason that needs an operator; `resume_batch` continues it."""
    changed = transaction.execute(
        update(Batch)
        .where(Batch.id == batch, Batch.state.not_in([*_ENDED, BatchState.HELD.value]))
        .values(state=BatchState.HELD.value, reason=reason)
    )
    if changed.rowcount:
        notify(transaction, Event.HELD, batch, reason=reason)
    wake_next(transaction)
    wake(transaction, Run.batch_id == batch)


def pause_batch(transaction: Transaction, batch: str, by: str) -> None:
    """Hold a batch because an operator asked for it; a batch that is already held keeps its reason.

    Args:
        transaction: The transaction to do it in.
        batch: The batch.
        by: The command, deployment or person that paused it.
    """
    hold_batch(transaction, batch, f"{_PAUSED}{by}.")


def is_paused(state: BatchState, reason: str | None) -> bool:
    """Whether a batch is held because an operator paused it."""
    return state is BatchState.HELD and (reason or "").startswith(_PAUSED)


def is_paused_batch() -> ColumnElement[bool]:
    """The condition that a batch is held because an operator paused it."""
    return and_(
        Batch.state == BatchState.HELD.value,
        func.coalesce(Batch.reason, "").startswith(_PAUSED, autoescape=True),
    )


def resume_batch(transaction: Transaction, batch: str) -> bool:
    """Resume a held batch; one that is not approved yet waits for approval again.

    Its legs continue, and its ended runs are restarted in the same transaction: a running batch
    always has a run.

    Returns:
        Whether it was held.
    """
    row = transaction.execute(
        select(Batch.state, Batch.scan_done, Batch.why_ask)
        .where(Batch.id == batch)
        .with_for_update()
    ).one_or_none()
    if row is None or row.state != BatchState.HELD:
        return False
    state = BatchState.UNAPPROVED if row.why_ask else BatchState.RUNNING
    if not row.scan_done:
        state = BatchState.PLANNING
    canary_has_ended = exists().where(
        Chunk.batch_id == batch, Chunk.number == CANARY, Chunk.state == ChunkState.DONE.value
    )
    transaction.execute(
        update(Batch)
        .where(Batch.id == batch)
        .values(
            state=state.value,
            reason=row.why_ask,
            resumed_at=transaction.now,
            # The operator who resumes it has seen how the canary ended and why the circuit
            # opened.
            canary_passed=or_(Batch.canary_passed, canary_has_ended),
            trips=0,
            closed_until=None,
        )
    )
    notify(transaction, Event.RESUMED, batch, state=state.value)
    wake_owners(transaction, batch)
    return True


def approve(transaction: Transaction, batch: str) -> bool:
    """Approve a planned batch, and wake its run, or restart it if it has ended.

    Returns:
        Whether the batch was waiting for approval.
    """
    changed = transaction.execute(
        update(Batch)
        .where(Batch.id == batch, Batch.state == BatchState.UNAPPROVED.value)
        .values(
            state=BatchState.RUNNING.value, reason=None, why_ask=None, resumed_at=transaction.now
        )
    )
    if changed.rowcount == 0:
        return False
    notify(transaction, Event.RESUMED, batch, state=BatchState.RUNNING.value)
    wake_owners(transaction, batch)
    return True


def cancel_batch(transaction: Transaction, batch: str, reason: str) -> tuple[int, int]:
    """Cancel the jobs that were not sent. Jobs at Ittybit may still run and be billed.

    Jobs in flight stay in flight until a webhook or a poll settles them.

    Returns:
        The number of cancelled jobs, and of jobs still in flight.
    """
    again = lock_claims(transaction, Chunk.batch_id == batch)
    changed = transaction.execute(
        update(Batch)
        .where(Batch.id == batch, Batch.state.not_in(_ENDED))
        .values(
            state=BatchState.CANCELLED.value,
            reason=reason,
            ended_at=transaction.now,
            # A request that comes now opens another batch.
            accepts_until=None,
        )
    )
    unsent = transaction.rows(
        select(Job.id, Job.chunk_id)
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(Chunk.batch_id == batch, Job.state == JobState.PLANNED.value)
        .order_by(Job.id)
        .with_for_update(of=Job)
    )
    _release_adopted(transaction, batch)
    if changed.rowcount == 0 and not unsent:
        return 0, job_totals(transaction, batch)["in_flight"]
    _cancel(transaction, [(row.id, row.chunk_id) for row in unsent], reason, again=again)
    transaction.execute(
        update(Chunk).where(Chunk.batch_id == batch, Chunk.growing.is_(True)).values(growing=False)
    )
    done = transaction.execute(
        update(Chunk)
        .where(
            Chunk.batch_id == batch,
            Chunk.state != ChunkState.DONE.value,
            Chunk.planned == 0,
            Chunk.in_flight == 0,
        )
        .values(state=ChunkState.DONE.value, ended_at=transaction.now)
        .returning(Chunk.id, Chunk.sent)
    ).all()
    # The others hold cancelled jobs only, perhaps a million: `reconcile` counts those.
    worked = sorted(row.id for row in done if row.sent)
    count_shares(transaction, worked)
    for chunk in worked:
        notify_chunk_done(transaction, chunk)
    if changed.rowcount:
        notify(transaction, Event.ENDED, batch, state=BatchState.CANCELLED.value, reason=reason)
    wake_next(transaction)
    # The runs of a held batch have ended, but the jobs that it sent must still be collected.
    wake_owners(transaction, batch)
    return len(unsent), job_totals(transaction, batch)["in_flight"]


def _release_adopted(transaction: Transaction, batch: str) -> None:
    """Release the chunks whose adopted jobs run before anything was sent: a run collects them."""
    changed = transaction.execute(
        update(Chunk)
        .where(
            Chunk.batch_id == batch,
            Chunk.state == ChunkState.PLANNED.value,
            Chunk.in_flight > 0,
        )
        .values(state=ChunkState.RELEASED.value)
        .returning(Chunk.id)
    )
    for row in changed.all():
        new_run(transaction, identity.chunk_owner(row.id), batch, RunState.STARTING)


def cancel_chunk(transaction: Transaction, chunk: int, reason: str) -> int:
    """Cancel the unsent jobs of one chunk.

    Returns:
        How many jobs were cancelled.
    """
    again = lock_claims(transaction, Chunk.id == chunk)
    unsent = transaction.rows(
        select(Job.id, Job.chunk_id)
        .where(Job.chunk_id == chunk, Job.state == JobState.PLANNED.value)
        .order_by(Job.id)
        .with_for_update()
    )
    return _cancel(transaction, [(row.id, row.chunk_id) for row in unsent], reason, again=again)


def _cancel(
    transaction: Transaction, jobs: Sequence[tuple[int, int]], reason: str, *, again: bool
) -> int:
    lenders = lenders_of(transaction, [job for job, _ in jobs]) if again else []
    cancelled = cancel_unsent(transaction, jobs, reason)
    return_claims(transaction, lenders)
    return cancelled


def cancel_unsent(transaction: Transaction, jobs: Sequence[tuple[int, int]], reason: str) -> int:
    """Cancel the (job, chunk) pairs that are still planned, and release their claims.

    Returns:
        How many were cancelled.
    """
    moves = Moves()
    cancelled = 0
    ids = sorted(job for job, _ in jobs)
    for start in range(0, len(ids), 500):
        # Count what changed: a job may have been sent since the caller read it.
        changed = transaction.execute(
            update(Job)
            .where(Job.id.in_(ids[start : start + 500]), Job.state == JobState.PLANNED.value)
            .values(
                state=JobState.CANCELLED.value,
                claim=None,
                completed_at=transaction.now,
                error_kind="cancelled",
                error_message=reason,
            )
            .returning(Job.id, Job.chunk_id)
        ).all()
        for row in changed:
            moves.add(row.chunk_id, JobState.PLANNED, JobState.CANCELLED)
        note_ended(transaction, [row.id for row in changed])
        cancelled += len(changed)
    moves.apply(transaction)
    return cancelled


def wake_owners(transaction: Transaction, batch: str) -> None:
    """Wake every run of a batch after its state has changed, and restart ended ones.

    The caller has locked the batch's row. Waiting and working runs become ready, suspended runs
    continue, and ended runs are restarted if they are needed.
    """
    of_batch = Run.batch_id == batch
    move(transaction, Move.UNSUSPEND, of_batch)
    wake(transaction, of_batch)
    transaction.execute(
        update(Run).where(of_batch, Run.retry_at.is_not(None)).values(failures=0, retry_at=None)
    )
    restart_runs(transaction, batch)


def restart_runs(transaction: Transaction, batch: str, *, only: str | None = None) -> list[str]:
    """Restart the runs of a batch that have ended and are needed.

    Args:
        transaction: The transaction to do it in.
        batch: The batch.
        only: Restart only the run of this owner.

    Returns:
        The owners that need a new run, the batch itself first.
    """
    released = exists().where(Chunk.batch_id == batch, Chunk.state == ChunkState.RELEASED.value)
    state = BatchState(
        transaction.execute(select(Batch.state).where(Batch.id == batch)).scalar_one()
    )
    needed: list[ColumnElement[bool]] = []
    if state is BatchState.CANCELLED:
        needed += [(Run.owner == identity.batch_owner(batch)) & released]
    # An unapproved batch has to ask for approval: the run that asked may have ended.
    if state in {BatchState.PLANNING, BatchState.UNAPPROVED, BatchState.RUNNING}:
        needed += [Run.owner == identity.batch_owner(batch)]
    if state is not BatchState.HELD:
        needed += [
            exists().where(
                Chunk.batch_id == batch,
                Chunk.state == ChunkState.RELEASED.value,
                Run.owner == literal("chunk:") + cast(Chunk.id, String),
            )
        ]
    move(
        transaction,
        Move.RESTART,
        Run.batch_id == batch,
        or_(literal(value=False), *needed),
        literal(value=True) if only is None else Run.owner == only,
        stumbles=0,
        **next_generation(transaction),
    )
    return [run.owner for run in runs.unmade_runs(transaction, batch)]
