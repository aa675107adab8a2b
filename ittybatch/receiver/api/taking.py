"""What the receiver needs of the intake."""

from typing import Protocol

from ittybatch.intake.taken import Taken
from ittybatch.intake.uploads import RecallsRequests
from ittybatch.intake.wanted import Wanted


class TakesRequests(Protocol):
    """Takes requests into the ledger and sends their jobs: `ittybatch.intake.intake.Intake`."""

    async def take(self, wanted: Wanted, *, answer_within_s: float = ...) -> Taken:
        """Take one request; returns once the ledger holds it.

        Args:
            wanted: The upload, and what to make of it.
            answer_within_s: Seconds to wait for Ittybit's answers.

        Raises:
            RequestRefused: Something is wrong with the request. Nothing was taken.
            MayBeTaken: The ledger did not say in time whether it was taken.
            LedgerUnavailable: Nothing was taken.
        """


class RunsIntake(RecallsRequests, Protocol):
    """An intake that the receiver starts and stops."""

    async def start(self) -> None:
        """Start taking requests."""

    async def stop(self) -> None:
        """Take and send what has arrived, then stop."""
