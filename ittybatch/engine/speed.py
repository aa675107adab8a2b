"""The speed of a batch, and its remaining time."""

from dataclasses import dataclass

from ittybatch.engine.amounts import format_duration
from ittybatch.ledger import Ledger
from ittybatch.ledger.queries import BatchStatus, ended_per_minute


@dataclass(frozen=True, slots=True)
class Speed:
    """The speed of a batch.

    Args:
        per_minute: Jobs that ended per minute, over the last ten minutes; None if none did.
        left_s: Seconds until all jobs have ended, at this speed; None if unknown.
    """

    per_minute: float | None
    left_s: float | None

    def describe(self) -> str:
        """Describe the speed for people."""
        if self.per_minute is None or self.left_s is None:
            return "nothing has ended in the last ten minutes"
        left = format_duration(self.left_s)
        return f"{self.per_minute:,.0f} jobs a minute, about {left} left"


def speed_of(ledger: Ledger, status: BatchStatus) -> Speed:
    """Measure the speed of a batch from the jobs that ended in the last ten minutes."""
    return speed_at(ledger.read(ended_per_minute, status.id), status)


def speed_at(per_minute: float | None, status: BatchStatus) -> Speed:
    """Compute the remaining time of a batch.

    Args:
        per_minute: Jobs that end per minute; None if unknown.
        status: The batch.
    """
    if not per_minute:
        return Speed(None, None)
    return Speed(per_minute, 60 * status.open_jobs / per_minute)
