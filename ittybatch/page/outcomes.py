"""The outcomes of actions: recorded in the ledger, and shown by the page that follows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.actions import PARTLY, DoneAction, Via, read_action, record_action

# A bookmark of a page with an outcome shows the page without it later.
_SHOWN_FOR = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action.

    Args:
        text: For people: what was done, what was not and why.
        refused: Whether nothing was done.
        partly: Whether only a part was done.
        leads_to: The page to go to; None stays at the page of the form.
        id: The number of its record; None if it has not been recorded.
        flow_run: The flow run that it has started, if it has.
    """

    text: str
    refused: bool = False
    partly: bool = False
    leads_to: str | None = None
    id: int | None = None
    flow_run: str | None = None


def record_outcome(
    ledger: Ledger,
    outcome: Outcome,
    *,
    actor: str,
    action: str,
    batch: str | None,
    details: Mapping[str, Any],
) -> Outcome:
    """Record an action of the page, and return its outcome with the record's number."""
    number = ledger.write(
        record_action,
        actor=actor,
        via=Via.PAGE,
        action=action,
        outcome=outcome.text,
        batch=batch,
        details={**details, PARTLY: True} if outcome.partly else details,
        refused=outcome.refused,
    )
    return replace(outcome, id=number)


def recorded_outcome(transaction: Transaction, number: int) -> Outcome | None:
    """Find the outcome of an action that was recorded a short time ago."""
    found: DoneAction | None = read_action(transaction, number)
    if found is None or datetime.now(UTC) - found.at > _SHOWN_FOR:
        return None
    partly = bool(found.details.get(PARTLY))
    return Outcome(
        found.outcome,
        refused=found.refused,
        partly=partly,
        id=found.id,
        flow_run=found.details.get("flow_run_id"),
    )
