"""The state of a flow run in Prefect."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prefect.client.schemas.objects import StateType


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The state of a flow run in Prefect.

    Args:
        type: The state's type.
        name: The state's name.
        since: When the run entered it, by this machine's clock.
        message: The state's message.
        tags: The run's tags.
        chunk: The chunk that the run works for, if it is one of `process-chunk`.
    """

    type: StateType
    name: str
    since: datetime
    message: str | None = None
    tags: Sequence[str] = ()
    chunk: int | None = None

    @property
    def suspended(self) -> bool:
        """Whether the run can be resumed."""
        return self.type is StateType.PAUSED

    @property
    def ended(self) -> bool:
        """Whether Prefect has finished with the run."""
        return self.type in {
            StateType.COMPLETED,
            StateType.FAILED,
            StateType.CRASHED,
            StateType.CANCELLED,
            StateType.CANCELLING,
        }

    def age_s(self) -> float:
        """Seconds since the run entered this state."""
        return (datetime.now(UTC) - self.since).total_seconds()
