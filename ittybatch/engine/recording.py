"""Records levers that are more than one transaction, or not in the ledger at all."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.actions import PARTLY, Asker, OwnRecord, end_action, record_action
from ittybatch.ledger.database import LedgerUnavailable

logger = logging.getLogger(__name__)

_BEGUN = "Begun; its end was not recorded."


@dataclass(slots=True)
class Record:
    """The record of a lever that is under way.

    Args:
        number: Its number; None if it could not be recorded.
        outcome: What was done; set it when it is known.
        refused: Whether nothing was done.
        details: More details, known only at its end, such as a flow run's id.
        so_far: What is done already, if it may stop before its end.
    """

    number: int | None
    outcome: str = "Done."
    refused: bool = False
    details: dict[str, Any] = field(default_factory=dict)
    so_far: str | None = None

    def stop(self, why: str) -> None:
        """Note why it stopped before its end, and what is done already."""
        self.outcome = why
        if self.so_far is not None:
            self.outcome = f"{self.so_far} Then it stopped: {why}"
            self.details[PARTLY] = True


@contextmanager
def recorded(
    ledger: Ledger,
    asker: Asker,
    action: str,
    *,
    batch: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Iterator[Record]:
    """Record a lever before it begins, and how it ended: a crash leaves the beginning.

    If the ledger is unavailable, the lever is pulled anyway, and the log says so: the record is
    for people, and must not be what fails.

    Args:
        ledger: The ledger.
        asker: Who asks for it.
        action: What they ask for, such as `retry`.
        batch: The batch that it is about.
        details: What they ask for in detail, by name.

    Yields:
        The record; set its outcome.
    """
    record = Record(_begin(ledger, asker, action, batch, details))
    try:
        yield record
    except IttybatchError as error:
        record.stop(str(error))
        record.refused = record.so_far is None
        error.record = record.number
        raise
    except BaseException as error:
        record.stop(f"It stopped before its end: {type(error).__name__}.")
        raise
    finally:
        _end(ledger, record)


def _begin(
    ledger: Ledger,
    asker: Asker,
    action: str,
    batch: str | None,
    details: Mapping[str, Any] | None,
) -> int | None:
    own = OwnRecord()

    def begin(transaction: Transaction) -> int:
        if own.number is not None and own.is_committed(transaction):
            return own.number
        number = record_action(
            transaction,
            actor=asker.name,
            via=asker.via,
            action=action,
            outcome=_BEGUN,
            batch=batch,
            details=details,
        )
        return own.note(transaction, number)

    try:
        return ledger.write(begin)
    except LedgerUnavailable as error:
        logger.warning("%s by %s is not among the recorded actions: %s", action, asker.name, error)
        return None


def _end(ledger: Ledger, record: Record) -> None:
    if record.number is None:
        return
    try:
        ledger.write(
            end_action,
            record.number,
            record.outcome,
            refused=record.refused,
            details=record.details,
        )
    except LedgerUnavailable as error:
        logger.warning("The end of action %d was not recorded: %s", record.number, error)
