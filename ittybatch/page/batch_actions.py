"""What was done about a batch, with the batches that came of it, and what began the batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ittybatch.engine.prefect_pages import flow_run_url
from ittybatch.ledger import Transaction
from ittybatch.ledger.actions import DoneAction, action_that_began, recent_actions
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.queries import batch_of_run
from ittybatch.ledger.waiters import batch_begun_by
from ittybatch.sources.failed import EVERY_BATCH

_ACTIONS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ShownAction:
    """What was done about a batch, with what came of it.

    Args:
        action: The record.
        url: The page in Prefect of the flow run that it started.
        batch: The batch that this flow run has begun; None on that batch's own page.
        of_batch: The batch that it was about, on the page of the batch that it began.
        waits: Whether the batch of its flow run does not exist yet.
    """

    action: DoneAction
    url: str | None
    batch: str | None
    of_batch: str | None
    waits: bool


def actions_of(transaction: Transaction, batch: str) -> list[ShownAction]:
    """What was last done about a batch, and what it was begun by."""
    found = recent_actions(transaction, batch=batch, limit=_ACTIONS_SHOWN)
    if (began := _began(transaction, batch)) is not None:
        found.append(began)
    return [_shown(transaction, batch, each) for each in found]


def _began(transaction: Transaction, batch: str) -> DoneAction | None:
    of_batch = read_batch(transaction, batch)
    if of_batch.begun_by is None:
        return None
    return action_that_began(
        transaction,
        of_batch.begun_by,
        source_batch=retried_batch(of_batch.source),
        began_at=of_batch.created_at,
    )


def _shown(transaction: Transaction, batch: str, action: DoneAction) -> ShownAction:
    run: Any = action.details.get("flow_run_id")
    if not isinstance(run, str):
        return ShownAction(action, None, None, None, waits=False)
    made = batch_begun_by(transaction, run) or batch_of_run(transaction, run)
    of_batch = action.batch_id if action.batch_id != batch else None
    url = flow_run_url(run)
    return ShownAction(action, url, made if made != batch else None, of_batch, waits=made is None)


def retried_batch(source: Mapping[str, Any]) -> str | None:
    """The batch whose jobs a batch with this source makes again; None if it is not one batch."""
    named = source.get("batch") if source.get("type") == "failed" else None
    return named if isinstance(named, str) and named not in {EVERY_BATCH, "latest"} else None
