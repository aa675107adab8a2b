"""The price of a job, in the user's own unit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ittybatch.ledger import Ledger
from ittybatch.ledger.results import options_of


@dataclass(frozen=True, slots=True)
class Prices:
    """The rates of a batch.

    Args:
        per_job: The batch's own rate for every job; None if it has none.
        by_kind: The rates of the settings, by kind (`ITTYBATCH_KIND_COSTS`).
    """

    per_job: float | None = None
    by_kind: Mapping[str, float] = field(default_factory=dict)

    def of(self, kind: str) -> float | None:
        """Return the price of one submission of a kind; None if it is unknown."""
        return self.per_job or self.by_kind.get(kind)

    @property
    def any(self) -> bool:
        """Whether there is a rate at all."""
        return bool(self.per_job or self.by_kind)

    def cost(self, submissions: Mapping[str, int]) -> float | None:
        """Return the price of submissions; None if that of one of their kinds is unknown.

        Args:
            submissions: The number of submissions, by kind.
        """
        prices = {kind: self.of(kind) for kind, count in submissions.items() if count}
        known = {kind: price for kind, price in prices.items() if price is not None}
        if len(known) < len(prices):
            return None
        return sum(price * submissions[kind] for kind, price in known.items())


def prices_of(ledger: Ledger, batch: str, kind_costs: Mapping[str, float]) -> Prices:
    """Return the rates of a batch.

    Args:
        ledger: The ledger that has the batch.
        batch: The batch's id.
        kind_costs: The rates of the settings, by kind.
    """
    return Prices(ledger.read(options_of, batch).get("cost_per_job"), kind_costs)
