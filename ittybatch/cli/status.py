"""The exit statuses of commands."""

from ittybatch.ledger.states import BatchState

SUCCEEDED, SOME_FAILED, USAGE, COULD_NOT_RUN = 0, 1, 2, 3
# The status that a shell reports for a program that SIGINT ended.
INTERRUPTED = 130


def status_of(state: BatchState) -> int:
    """Return the exit status for a batch's state."""
    match state:
        case BatchState.SUCCEEDED:
            return SUCCEEDED
        case BatchState.SOME_FAILED | BatchState.CANCELLED:
            return SOME_FAILED
        case _:
            return COULD_NOT_RUN
