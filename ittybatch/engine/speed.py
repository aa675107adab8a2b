"""How fast a batch gets on, and how long it still takes at that."""

from dataclasses import dataclass

from ittybatch.engine.amounts import format_duration
from ittybatch.ledger import Ledger
from ittybatch.ledger.queries import BatchStatus, ended_per_minute


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a batch gets on.

    Args:
        per_minute: Jobs that ended a minute, over the last ten; None where none did.
        left_s: Seconds until all have ended at that speed; None where there is none.
    """

    per_minute: float | None
    left_s: float | None

    def told(self) -> str:
        """The speed, in words."""
        if self.per_minute is None or self.left_s is None:
            return "nothing has ended in the last ten minutes"
        left = format_duration(self.left_s)
        return f"{self.per_minute:,.0f} jobs a minute, about {left} left at that"


def speed_of(ledger: Ledger, status: BatchStatus) -> Speed:
    """Measure how fast a batch gets on, by what has ended lately."""
    per_minute = ledger.read(ended_per_minute, status.id)
    if not per_minute:
        return Speed(None, None)
    unended = status.counts["planned"] + status.counts["in_flight"]
    return Speed(per_minute, 60 * unended / per_minute)
