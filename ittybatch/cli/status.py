"""How commands end."""

from ittybatch.ledger.states import BatchState

SUCCEEDED, SOME_FAILED, USAGE, COULD_NOT_RUN = 0, 1, 2, 3
# As a shell reports a program that SIGINT ended.
INTERRUPTED = 130


def status_of(state: BatchState) -> int:
    """The exit status for a batch's state."""
    match state:
        case BatchState.SUCCEEDED:
            return SUCCEEDED
        case BatchState.SOME_FAILED | BatchState.CANCELLED:
            return SOME_FAILED
        case _:
            return COULD_NOT_RUN
