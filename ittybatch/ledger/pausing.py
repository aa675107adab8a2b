"""A pause: a hold that an operator asked for. It needs no alert, unlike any other hold."""

from ittybatch.ledger.batches import hold_batch
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.states import BatchState

# The reason alone tells a pause from other holds: both are the same state to everything else.
_PAUSED = "Paused by "


def pause_batch(transaction: Transaction, batch: str, by: str) -> None:
    """Hold a batch because somebody asked for it; a batch that is held already keeps its reason.

    Args:
        transaction: The transaction to do it in.
        batch: The batch.
        by: The command, deployment or person that asked.
    """
    hold_batch(transaction, batch, f"{_PAUSED}{by}.")


def is_paused(state: BatchState, reason: str | None) -> bool:
    """Whether a batch is held because an operator paused it."""
    return state is BatchState.HELD and (reason or "").startswith(_PAUSED)
