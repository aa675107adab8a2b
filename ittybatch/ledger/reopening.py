"""Repeat the last event of jobs whose sink may have got an older one after it.

A receiver that is paused in the middle of a group loses its lease, and another one delivers
everything. When the first one goes on, it writes what it had read before: a row that is ready goes
back to processing. Nobody can prevent that, so whoever finds its lease lost repeats the last event.
"""

from collections.abc import Sequence

from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import aliased

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Outbox, Sink
from ittybatch.ledger.outbox import OutboxEvent


def reopen_last(transaction: Transaction, sink: str, given: Sequence[int]) -> int:
    """Deliver the end of jobs again of which an earlier event may have been written just now.

    A refused row stays refused: `ittybatch sinks retry` sends it again. A row that another receiver
    is delivering at this moment stays pending when that one marks it, because its `tries` change.

    Args:
        transaction: The transaction to do it in.
        sink: The sink.
        given: Ids of the rows that were given to the sink while another receiver had its lease.

    Returns:
        How many rows are delivered again.
    """
    # One receiver at a time changes rows of a sink that both know.
    transaction.execute(select(Sink.name).where(Sink.name == sink).with_for_update())
    old, newer = aliased(Outbox), aliased(Outbox)
    of_the_same = and_(
        newer.sink == old.sink,
        newer.job_id == old.job_id,
        newer.follower_id.is_not_distinct_from(old.follower_id),
        newer.id > old.id,
    )
    last = (
        select(func.max(newer.id).label("id"))
        .select_from(old)
        .join(newer, of_the_same)
        .where(old.id.in_(given), newer.event == OutboxEvent.ENDED.value)
        .group_by(newer.job_id, newer.follower_id)
    )
    ids = [row.id for row in transaction.rows(last)]
    if not ids:
        return 0
    changed = transaction.execute(
        update(Outbox)
        .where(Outbox.id.in_(ids), Outbox.refused_at.is_(None))
        .values(delivered_at=None, tries=Outbox.tries + 1)
    )
    return changed.rowcount
