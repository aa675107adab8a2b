"""Create the flow runs that batches and chunks need."""

from dataclasses import dataclass

from ittybatch.engine.flow_runs import (
    BATCH_DEPLOYMENT,
    CHUNK_DEPLOYMENT,
    FlowRuns,
    NoDeployment,
)
from ittybatch.engine.naming import run_name
from ittybatch.ledger import Ledger, Transaction, identity, runs
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.chunks import chunk_of
from ittybatch.ledger.runs import OwnedRun


@dataclass(frozen=True, slots=True)
class Order:
    """A flow run to create.

    Args:
        deployment: Name or id of the deployment to run.
        fallback: The deployment to run if that one has been deleted.
        parameters: The flow's parameters, as JSON.
        name: The run's name in Prefect's UI.
    """

    deployment: str
    fallback: str
    parameters: dict[str, object]
    name: str


def order_for(transaction: Transaction, run: OwnedRun) -> Order:
    """Describe the flow run that the owner of a run needs."""
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
        run_name(batch.name, batch.source, str(batch.profile["name"]), "resumed"),
    )


def make_run(ledger: Ledger, flow_runs: FlowRuns, owner: str) -> str | None:
    """Create the flow run that an owner is waiting for. Repeated calls return the same run.

    Returns:
        The flow run's id, or None if the owner no longer needs one.

    Raises:
        PrefectUnavailable: Prefect does not answer, or refused the request.
    """
    run = ledger.write(runs.run_to_make, owner)
    if run is None:
        return None
    order = ledger.read(order_for, run)
    try:
        flow_run = _request(flow_runs, order.deployment, order, run)
    except NoDeployment:
        if order.fallback == order.deployment:
            raise
        flow_run = _request(flow_runs, order.fallback, order, run)
    ledger.write(runs.bind_run, owner, run.generation, flow_run)
    return flow_run


def _request(flow_runs: FlowRuns, deployment: str, order: Order, run: OwnedRun) -> str:
    return flow_runs.make(
        deployment,
        parameters=order.parameters,
        name=order.name,
        tags=[f"batch:{run.batch_id}"],
        # The batch's id is needed, because every ledger numbers its chunks from 1.
        idempotency_key=f"{run.batch_id}:{run.owner}:{run.generation}",
    )
