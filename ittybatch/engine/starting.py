"""Start a batch: a flow run of a deployment of run-batch."""

from collections.abc import Mapping, Sequence
from typing import Any

from ittybatch.engine.flow_runs import FlowRuns


def with_usual_options(
    flow_runs: FlowRuns, deployment: str, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Complete the options of a run with those of its deployment.

    Without this, one option would replace all options of the deployment.

    Args:
        flow_runs: Access to Prefect.
        deployment: The deployment's name, without the flow's name.
        parameters: The flow run's parameters.

    Raises:
        PrefectUnavailable: Prefect does not answer, or does not have the deployment.
    """
    if "options" not in parameters:
        return dict(parameters)
    usual = flow_runs.defaults(_full(deployment)).get("options") or {}
    merged = {**usual, **parameters["options"]}
    if merged.get("again") and usual.get("approve_above_jobs") is not None:
        # The deployment's own limit applies even to a count that was confirmed.
        limits = (usual["approve_above_jobs"], merged["approve_above_jobs"])
        merged["approve_above_jobs"] = min(each for each in limits if each is not None)
    return {**parameters, "options": merged}


def start_batch(
    flow_runs: FlowRuns,
    deployment: str,
    parameters: Mapping[str, Any],
    *,
    tags: Sequence[str],
    idempotency_key: str,
) -> str:
    """Start a flow run of a deployment of run-batch. Repeated with the same key, the same run.

    Args:
        flow_runs: Access to Prefect.
        deployment: The deployment's name, without the flow's name.
        parameters: The flow run's parameters; see `with_usual_options`.
        tags: The flow run's tags.
        idempotency_key: Key of the run.

    Returns:
        The flow run's id.

    Raises:
        NoDeployment: Prefect does not have the deployment.
        PrefectUnavailable: Prefect does not answer, or refused the request.
    """
    return flow_runs.make(
        _full(deployment),
        parameters=parameters,
        name=None,
        tags=tags,
        idempotency_key=idempotency_key,
    )


def _full(deployment: str) -> str:
    return f"run-batch/{deployment}"
