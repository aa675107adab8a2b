"""Flow runs that Prefect takes for alive, and that no batch or chunk has any more."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, select

from ittybatch.ledger import identity
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Run
from ittybatch.ledger.states import RunState

# Of a statement's values.
_MOST = 200


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployed flow run of a batch or chunk.

    Args:
        flow_run_id: Prefect's id of the run.
        batch: The batch that it is tagged with, if any.
        chunk: The chunk that it works for; None for the run of a batch.
    """

    flow_run_id: str
    batch: str | None
    chunk: int | None


def left_behind(
    transaction: Transaction, candidates: Sequence[Candidate], lease_s: float
) -> list[str]:
    """Those flow runs whose owner has ended its run, or has had another one, for a lease.

    A run that the ledger cannot place is none of them: it may belong to another ledger, or may not
    have opened its batch yet.

    Args:
        transaction: The transaction to look in.
        candidates: The flow runs to look up.
        lease_s: Seconds since the owner's last change or heartbeat.
    """
    found: list[str] = []
    for start in range(0, len(candidates), _MOST):
        found += _left_behind(transaction, candidates[start : start + _MOST], lease_s)
    return found


def _left_behind(
    transaction: Transaction, candidates: Sequence[Candidate], lease_s: float
) -> list[str]:
    ids = [each.flow_run_id for each in candidates]
    rows = transaction.rows(select(Batch.begun_by, Batch.id).where(Batch.begun_by.in_(ids)))
    begun = {row.begun_by: row.id for row in rows}
    bound = {row.flow_run_id: row for row in _runs(transaction, Run.flow_run_id.in_(ids))}
    owners = {each.flow_run_id: _owner(each, begun.get(each.flow_run_id)) for each in candidates}
    known = [owner for owner in owners.values() if owner is not None]
    placed = {row.owner: row for row in _runs(transaction, Run.owner.in_(known))}
    quiet_since = transaction.now - timedelta(seconds=lease_s)
    found = []
    for each in candidates:
        row = bound.get(each.flow_run_id) or placed.get(owners[each.flow_run_id] or "")
        if row is None or max(row.since, row.heartbeat_at) > quiet_since:
            continue
        # Every ledger numbers its chunks from 1.
        if each.batch is not None and each.batch != row.batch_id:
            continue
        # A run that is made, and not bound yet, may be this one.
        is_unbound = row.state == RunState.STARTING and row.flow_run_id is None
        holds = row.flow_run_id == each.flow_run_id and row.state != RunState.ENDED
        if not is_unbound and not holds:
            found.append(each.flow_run_id)
    return found


def _owner(candidate: Candidate, begun: str | None) -> str | None:
    batch = candidate.batch or begun
    if batch is None:
        return None
    if candidate.chunk is not None:
        return identity.chunk_owner(candidate.chunk)
    return identity.batch_owner(batch)


def _runs(transaction: Transaction, which: ColumnElement[bool]) -> list[Any]:
    columns = (Run.owner, Run.batch_id, Run.flow_run_id, Run.state, Run.since, Run.heartbeat_at)
    return transaction.rows(select(*columns).where(which))
