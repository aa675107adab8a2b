"""Retries of a batch that were asked for, and whose own batch is not planned yet."""

from datetime import timedelta

from ittybatch.ittybit.redaction import redacted
from ittybatch.ledger import Transaction
from ittybatch.ledger.actions import DoneAction, recent_actions
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.failure_groups import FailureGroup
from ittybatch.ledger.states import BatchState
from ittybatch.ledger.waiters import batch_begun_by

# A flow run may end without a batch. After this time the failures are offered again.
_BEGINS_WITHIN = timedelta(minutes=15)
_LOOKED_AT = 100
# Longer texts are cut in the record of an action.
_RECORDED_CHARS = 500


def retries_under_way(transaction: Transaction, batch: str) -> list[DoneAction]:
    """The retries of a batch's failures that no batch has planned yet, the newest first."""
    found = []
    for each in recent_actions(transaction, batch=batch, action="retry", limit=_LOOKED_AT):
        if transaction.now - each.at > _BEGINS_WITHIN:
            break
        flow_run = each.details.get("flow_run_id")
        if each.refused or not isinstance(flow_run, str):
            continue
        begun = batch_begun_by(transaction, flow_run)
        if begun is None or read_batch(transaction, begun).state is BatchState.PLANNING:
            found.append(each)
    return found


def takes(retry: DoneAction, group: FailureGroup) -> bool:
    """Whether a retry that was asked for on the page makes all jobs of a group again."""
    # The record of a retry of single jobs lists them.
    if not isinstance(retry.details.get("jobs"), int):
        return False
    if f'"{group.state.value}"' not in str(retry.details.get("states")):
        return False
    alike = retry.details.get("alike")
    return alike is None or alike == redacted(group.reason)[:_RECORDED_CHARS]
