"""Approval: a plan that somebody has to look at before it costs anything."""

from sqlalchemy import select, update

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.legs import Leg, begin_wait
from ittybatch.ledger.models import Batch
from ittybatch.ledger.rousing import rouse
from ittybatch.ledger.states import BatchState


def asked_leg(transaction: Transaction, batch: str, flow_run_id: str | None) -> int | None:
    """The number of the leg of a flow run that asked for approval last.

    None where none has: the form of a run whose place was taken cannot be read in another.
    """
    row = transaction.execute(
        select(Batch.asked_leg, Batch.asked_run).where(Batch.id == batch)
    ).one()
    return row.asked_leg if row.asked_run == flow_run_id else None


def ask(transaction: Transaction, leg: Leg, flow_run_id: str | None) -> bool:
    """Note that a leg of a flow run asks for approval, and that the run waits for the answer.

    Returns:
        Whether it does: not where another run has taken its place.
    """
    transaction.execute(
        update(Batch)
        .where(Batch.id == leg.batch_id)
        .values(asked_leg=leg.number, asked_run=flow_run_id)
    )
    return begin_wait(transaction, leg)


def approve(transaction: Transaction, batch: str) -> bool:
    """Let a planned batch begin, and wake its run, or restart it where it has ended.

    Returns:
        Whether it waited for that.
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
    rouse(transaction, batch)
    return True
