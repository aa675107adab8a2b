"""Actions: who asked for what, through which way, and what came of it.

The record is for people. Nothing else in the ledger depends on it, and it is never tidied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import insert, or_, select, update

from ittybatch.ittybit.redaction import redacted
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Action

# The mark, among the details, of an action of which only a part was done.
PARTLY = "partly"
_MAX_ACTOR = 200
_MAX_ACTION = 50
_MAX_OUTCOME = 2000
_MAX_DETAIL = 500
_MAX_DETAILS = 30
# Longer than a flow run waits for a worker.
_BEGINS_WITHIN = timedelta(days=2)


class Via(StrEnum):
    """The way an action was asked for."""

    PAGE = "page"
    CLI = "cli"
    API = "api"
    PREFECT = "prefect"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for an action.

    Args:
        name: Their name, as far as it is known.
        via: The way they ask.
    """

    name: str
    via: Via


@dataclass(frozen=True, slots=True)
class DoneAction:
    """An action as it was recorded.

    Args:
        id: Its number; later actions have larger ones.
        at: When it was recorded.
        actor: Who asked for it, as far as it is known.
        via: The way they asked: a `Via`, or what a newer version wrote.
        action: What they asked for, such as `pause` or `retry`.
        batch_id: The batch that it was about, if it was about one.
        details: What they asked for in detail, by name, without secrets.
        outcome: What was done, or why it was refused.
        refused: Whether nothing was done.
    """

    id: int
    at: datetime
    actor: str
    via: str
    action: str
    batch_id: str | None
    details: Mapping[str, Any]
    outcome: str
    refused: bool


def record_action(
    transaction: Transaction,
    *,
    actor: str,
    via: Via,
    action: str,
    outcome: str,
    batch: str | None = None,
    details: Mapping[str, Any] | None = None,
    refused: bool = False,
) -> int:
    """Record what somebody asked for, and what came of it; secrets in it are masked.

    Args:
        transaction: The transaction to do it in.
        actor: Who asked, such as a user's name.
        via: The way they asked.
        action: What they asked for, such as `pause`.
        outcome: What was done, or why it was refused.
        batch: The batch that it is about.
        details: What they asked for in detail, by name, as JSON. Long texts are cut.
        refused: Whether nothing was done.

    Returns:
        The number of the record.
    """
    added = transaction.execute(
        insert(Action)
        .values(
            at=transaction.now,
            actor=_text(actor, _MAX_ACTOR) or "unknown",
            via=via.value,
            action=_text(action, _MAX_ACTION),
            batch_id=batch and _text(batch, 64),
            details=_details(details or {}),
            outcome=_text(outcome, _MAX_OUTCOME),
            refused=refused,
        )
        .returning(Action.id)
    )
    return int(added.scalar_one())


@dataclass(slots=True)
class OwnRecord:
    """What a transition recorded when it was first tried.

    A COMMIT whose answer was lost may have been made. `Ledger.write` then repeats the transition,
    which finds its own record, and must take that for its success.

    Args:
        number: The record's number; None if nothing was tried yet.
        at: When it was made. After a rollback, SQLite gives its number to another record.
    """

    number: int | None = None
    at: datetime | None = None

    def note(self, transaction: Transaction, number: int) -> int:
        """Remember a record of this transaction; return its number."""
        self.number, self.at = number, transaction.now
        return number

    def is_committed(self, transaction: Transaction) -> bool:
        """Whether the record of an earlier try is in the ledger."""
        if self.number is None:
            return False
        found = read_action(transaction, self.number)
        return found is not None and found.at == self.at


def end_action(
    transaction: Transaction,
    number: int,
    outcome: str,
    *,
    refused: bool,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Replace the outcome of an action that was recorded when it began.

    Args:
        transaction: The transaction to do it in.
        number: The number of its record.
        outcome: What was done, or why it was refused.
        refused: Whether nothing was done.
        details: More details, known only now.
    """
    values: dict[str, Any] = {"outcome": _text(outcome, _MAX_OUTCOME), "refused": refused}
    if details:
        before = transaction.execute(
            select(Action.details).where(Action.id == number).with_for_update()
        ).scalar_one()
        values["details"] = {**before, **_details(details)}
    transaction.execute(update(Action).where(Action.id == number).values(values))


def read_action(transaction: Transaction, number: int) -> DoneAction | None:
    """The action with this number, if there is one."""
    rows = transaction.rows(select(*Action.__table__.columns).where(Action.id == number))
    return _read(rows[0]) if rows else None


def recent_actions(
    transaction: Transaction,
    *,
    batch: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    via: Via | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[DoneAction]:
    """Actions, the newest first.

    Args:
        transaction: The transaction to look in.
        batch: Only those about this batch.
        actor: Only those that somebody asked for whose name contains this text, ignoring case.
        action: Only those of this kind, such as `retry`.
        via: Only those that were asked for in this way.
        before: Only those with a smaller number: the last of the page before.
        limit: The maximum number.
    """
    query = select(*Action.__table__.columns).order_by(Action.id.desc()).limit(limit)
    if batch is not None:
        query = query.where(Action.batch_id == batch)
    if actor is not None:
        query = query.where(Action.actor.icontains(actor, autoescape=True))
    if action is not None:
        query = query.where(Action.action == action)
    if via is not None:
        query = query.where(Action.via == via.value)
    if before is not None:
        query = query.where(Action.id < before)
    return [_read(row) for row in transaction.rows(query)]


def action_that_began(
    transaction: Transaction, flow_run: str, *, source_batch: str | None, began_at: datetime
) -> DoneAction | None:
    """The action that started the flow run which began a batch, if it was recorded.

    Args:
        transaction: The transaction to look in.
        flow_run: The flow run that began the batch.
        source_batch: The batch whose jobs it makes again; None if it is no retry.
        began_at: When the batch began.
    """
    query = (
        select(*Action.__table__.columns)
        .where(
            # The index has the actions of a batch, and those of none, together.
            or_(Action.batch_id.is_(None), Action.batch_id == source_batch),
            Action.at.between(began_at - _BEGINS_WITHIN, began_at),
            Action.details["flow_run_id"].as_string() == flow_run,
        )
        .order_by(Action.id.desc())
        .limit(1)
    )
    rows = transaction.rows(query)
    return _read(rows[0]) if rows else None


def _read(row: Any) -> DoneAction:  # noqa: ANN401  a row of `actions`
    return DoneAction(**row._mapping)  # noqa: SLF001  its public name


def _text(text: str, most: int) -> str:
    # Postgres takes no NUL in text.
    return redacted(text.replace("\x00", ""))[:most]


def _details(given: Mapping[str, Any]) -> dict[str, Any]:
    return {_text(name, 100): _detail(value) for name, value in list(given.items())[:_MAX_DETAILS]}


def _detail(value: object) -> Any:  # noqa: ANN401  JSON
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return _text(value, _MAX_DETAIL)
    return _text(orjson.dumps(value, default=str).decode(), _MAX_DETAIL)
