"""Stopping: a batch is held and its run ends, in one transaction.

If a batch were held while its run stayed awake, the run would be replaced after a lease.
"""

from enum import Enum, auto

from sqlalchemy import select

from ittybatch.ledger.control import hold_batch
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.legs import Leg
from ittybatch.ledger.models import Batch, Run
from ittybatch.ledger.run_moves import Move, lock_place, move, wake
from ittybatch.ledger.runs import OwnedRun, end_runs, has_moved
from ittybatch.ledger.states import BatchState


class Stopped(Enum):
    """The result of `stop_trying`."""

    HELD = auto()
    ENDED = auto()
    MOVED = auto()


def hold_and_end(transaction: Transaction, leg: Leg, reason: str) -> bool:
    """Hold the batch of a leg that cannot continue, and end the leg's run.

    Returns:
        False, and nothing has changed, if another leg has replaced it.
    """
    place = lock_place(transaction, leg.owner, exclusive=True)
    if place is None or (place.run.generation, place.run.leg) != (leg.generation, leg.number):
        return False
    hold_batch(transaction, leg.batch_id, reason)
    move(transaction, Move.END, Run.owner == leg.owner, wake_at=None)
    return True


def stop_trying(transaction: Transaction, seen: OwnedRun, reason: str) -> Stopped:
    """Hold the batch of a run that makes no progress, and end all its runs.

    A cancelled batch is not held. Its sent jobs are settled without a run, so only this run ends.

    Args:
        transaction: The transaction to do it in.
        seen: The run as it was read: nothing is done if it has moved since.
        reason: Why, for the batch's record.
    """
    place = lock_place(transaction, seen.owner, exclusive=True)
    if place is None or has_moved(place, seen):
        return Stopped.MOVED
    hold_batch(transaction, seen.batch_id, reason)
    if _state(transaction, seen.batch_id) is BatchState.HELD:
        end_runs(transaction, seen.batch_id)
        return Stopped.HELD
    move(transaction, Move.END, Run.owner == seen.owner, wake_at=None)
    return Stopped.ENDED


def suspended_in_prefect(transaction: Transaction, seen: OwnedRun) -> bool:
    """Hold the batch of a run that an operator suspended in the Prefect UI.

    The run stays suspended until the batch is resumed, or the run is resumed in the Prefect UI.
    A batch that has ended only collects the jobs that it sent. There is nothing to pause, so its
    run is woken.

    Returns:
        Whether an operator suspended the run; False if it waits in the ledger by now.
    """
    place = lock_place(transaction, seen.owner, exclusive=True)
    if place is None or (place.run.generation, place.run.leg) != (seen.generation, seen.leg):
        return False
    if not move(transaction, Move.SUSPEND, Run.owner == seen.owner):
        return False
    if place.batch_state.ended:
        move(transaction, Move.UNSUSPEND, Run.owner == seen.owner)
        wake(transaction, Run.owner == seen.owner)
        return True
    hold_batch(
        transaction,
        seen.batch_id,
        f"Its flow run was suspended in Prefect; `ittybatch resume {seen.batch_id}` continues it.",
    )
    return True


def _state(transaction: Transaction, batch: str) -> BatchState:
    return BatchState(
        transaction.execute(select(Batch.state).where(Batch.id == batch)).scalar_one()
    )
