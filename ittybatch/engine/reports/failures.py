"""A batch's failures by reason, as rows of a workbook or a DataFrame."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ittybatch.engine.advice import outlook
from ittybatch.ledger import Ledger
from ittybatch.ledger.failure_groups import FailureGroup, Failures, failure_groups

# Each failure in the window takes about 2 kB while it is counted.
WINDOW = 20_000


@dataclass(frozen=True, slots=True)
class FailureRow:
    """Failures in one state and for one reason.

    Args:
        jobs: The number of jobs.
        to_retry: How many of these no later batch has taken up.
        status: The state in which they ended.
        reason: The reason, without numbers, ids, names and addresses.
        outlook: What another attempt may come to.
        error_kind: Kind of the newest error.
        error_message: Message of the newest error.
        first_at: When the first of them ended.
        last_at: When the last of them ended.
        example: The input of the newest.
    """

    jobs: int
    to_retry: int
    status: str
    reason: str
    outlook: str
    error_kind: str | None
    error_message: str | None
    first_at: datetime | None
    last_at: datetime | None
    example: str | None


def read_failures(ledger: Ledger, batch: str) -> Failures:
    """Read the newest failures of a batch, at most `WINDOW`, by reason."""
    return ledger.read(failure_groups, batch, WINDOW)


def failure_rows(found: Failures) -> Iterator[FailureRow]:
    """Yield a row for each reason, the most frequent first."""
    return map(_row, found.groups)


def _row(group: FailureGroup) -> FailureRow:
    error = {
        "state": group.state,
        "error_kind": group.error_kind,
        "error_message": group.error_message,
    }
    return FailureRow(
        jobs=group.jobs,
        to_retry=group.to_retry,
        status=group.state.value,
        reason=group.reason,
        outlook=outlook(error).value,
        error_kind=group.error_kind,
        error_message=group.error_message,
        first_at=group.first_at,
        last_at=group.last_at,
        example=group.examples[0].uri if group.examples else None,
    )
