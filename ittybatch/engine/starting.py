"""Start flow runs that somebody asks for: of a batch, and of upkeep."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from ittybatch.engine.flow_runs import FlowRuns, open_flow_runs, require_prefect

RECONCILE_DEPLOYMENT = "reconcile/reconcile"
ADOPT_DEPLOYMENT = "adopt-batch/adopt-batch"


def start_upkeep(deployment: str, parameters: Mapping[str, Any], *, by: str) -> str:
    """Start a flow run of a deployment that is safe to repeat, also while another one works.

    Args:
        deployment: `flow/deployment`.
        parameters: The flow run's parameters.
        by: What asks for it: `page`.

    Returns:
        The flow run's id.

    Raises:
        NoDeployment: Prefect does not have the deployment.
        PrefectUnavailable: Prefect does not answer, or refused the request.
    """
    require_prefect()
    with open_flow_runs() as flow_runs:
        return flow_runs.make(
            deployment,
            parameters=parameters,
            name=None,
            tags=[f"started-by:{by}"],
            # Each click is a run of its own: an earlier one may have ended.
            idempotency_key=uuid4().hex,
        )


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
        parameters: The flow run's parameters. Options that are missing are the deployment's.
        tags: The flow run's tags.
        idempotency_key: Key of the run.

    Returns:
        The flow run's id.

    Raises:
        NoDeployment: Prefect does not have the deployment.
        PrefectUnavailable: Prefect does not answer, or refused the request.
    """
    name = f"run-batch/{deployment}"
    given = dict(parameters)
    if "options" in given:
        # Without this, one option would replace all options of the deployment.
        defaults = flow_runs.defaults(name)
        usual = dict(defaults.get("options") or {})
        if (limit := defaults.get("approve_above_jobs")) is not None:
            # As a parameter of its own it would override the option of the same name that is given
            # here, perhaps by someone who was promised that nothing is sent unapproved.
            usual["approve_above_jobs"] = limit
            given.setdefault("approve_above_jobs", None)
        merged = {**usual, **given["options"]}
        if merged.get("again") and usual.get("approve_above_jobs") is not None:
            # The deployment's own limit applies even to a count that was confirmed.
            limits = (usual["approve_above_jobs"], merged.get("approve_above_jobs"))
            merged["approve_above_jobs"] = min(each for each in limits if each is not None)
        given["options"] = merged
    return flow_runs.make(
        name, parameters=given, name=None, tags=tags, idempotency_key=idempotency_key
    )
