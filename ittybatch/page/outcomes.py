"""The outcomes of actions, kept so that the next page can show them."""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ittybatch.ledger import Ledger

_MAX_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action.

    Args:
        text: For people: what was done, what was not and why.
        refused: Whether nothing was done.
        partly: Whether only a part was done.
        leads_to: The page to go to; None stays at the page of the form.
        id: The id of its record; None if it has not been recorded.
    """

    text: str
    refused: bool = False
    partly: bool = False
    leads_to: str | None = None
    id: int | None = None


class Outcomes:
    """Records actions, and finds their outcomes.

    Args:
        ledger: Keeps the records.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ids = itertools.count(1)
        self._kept: OrderedDict[int, Outcome] = OrderedDict()
        self._lock = threading.Lock()

    def record(
        self,
        outcome: Outcome,
        *,
        actor: str,
        action: str,
        batch: str | None,
        details: Mapping[str, Any],
    ) -> Outcome:
        """Record an action, and return its outcome with the record's id."""
        del actor, action, batch, details
        with self._lock:
            recorded = replace(outcome, id=next(self._ids))
            self._kept[recorded.id or 0] = recorded
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return recorded

    def find(self, number: int) -> Outcome | None:
        """Find the outcome of a recorded action."""
        with self._lock:
            return self._kept.get(number)
