"""Orders: what to ask Prefect for when an owner needs a flow run."""

from dataclasses import dataclass

from ittybatch.engine.flow_runs import BATCH_DEPLOYMENT, CHUNK_DEPLOYMENT
from ittybatch.ledger import Transaction, identity
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.chunks import chunk_of
from ittybatch.ledger.runs import OwnedRun


@dataclass(frozen=True, slots=True)
class Order:
    """A flow run to be made.

    Args:
        deployment: Name or id of the deployment that is to run it.
        fallback: The deployment that can do it, too, where that one is gone.
        parameters: The flow's parameters, as JSON.
        name: The run's name in Prefect's UI.
    """

    deployment: str
    fallback: str
    parameters: dict[str, object]
    name: str


def order_for(transaction: Transaction, run: OwnedRun) -> Order:
    """What to ask Prefect for, for the owner of a run."""
    batch = read_batch(transaction, run.batch_id)
    number = identity.owned_chunk(run.owner)
    if number is not None:
        chunk = chunk_of(transaction, number)
        return Order(
            CHUNK_DEPLOYMENT,
            CHUNK_DEPLOYMENT,
            {"chunk_id": number},
            f"{batch.id} chunk {chunk.number} of {chunk.of}",
        )
    return Order(
        run.deployment_id or BATCH_DEPLOYMENT,
        BATCH_DEPLOYMENT,
        {
            "source": dict(batch.source),
            "profile": str(batch.profile["name"]),
            "options": {**batch.options, "go_on_with": batch.id},
        },
        f"{batch.name} (goes on)",
    )
