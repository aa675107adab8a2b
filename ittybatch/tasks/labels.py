"""Set the name and the tags of this flow run in the Prefect UI."""

import re
from collections.abc import Mapping
from typing import Any

from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.runtime import deployment
from pydantic import BaseModel

from ittybatch.engine.flow_runs import PrefectUnavailable, open_flow_runs, translating_errors
from ittybatch.engine.naming import run_name
from ittybatch.ledger.control import is_paused
from ittybatch.ledger.queries import BatchStatus

# Matches the random names that Prefect generates: `witty-otter`, `rho3-wysanti-quadrant`.
_GENERATED = re.compile(r"[a-z0-9'-]+")
_OUTCOME = "outcome:"


def batch_run_name() -> str:
    """Name this run after what it does, unless someone has named it.

    Prefect calls this in each leg. The name that the first leg chose stays.
    """
    context = FlowRunContext.get()
    if context is None:
        return "run-batch"
    given = context.flow_run.name if context.flow_run else ""
    if given and not _GENERATED.fullmatch(given):
        return given
    return name_of(context.parameters or {}, deployment_name())


def name_of(parameters: Mapping[str, Any], deployed_as: str | None) -> str:
    """Name a run after its parameters: `nightly: s3://media/uploads/, web`."""
    options, source = _plain(parameters.get("options")), _plain(parameters.get("source"))
    what = options.get("name") or deployed_as or "run-batch"
    remark = "dry run" if options.get("dry_run") else ""
    return run_name(what, source, str(parameters.get("profile")), remark)


def deployment_name() -> str | None:
    """Return the name of this run's deployment; None if it has none or Prefect does not answer."""
    try:
        with translating_errors("read the name of this run's deployment"):
            name = deployment.name
    except (PrefectUnavailable, ObjectNotFound):
        return None  # it is only part of a name
    return str(name) if name else None


def tag_batch(batch: str) -> None:
    """Tag this flow run like the runs of the batch's chunks, so that one filter shows all."""
    _tag([f"batch:{batch}"])


def tag_outcome(status: BatchStatus) -> None:
    """Tag this flow run with the batch's state in the ledger, or `paused`.

    Prefect's state Failed does not distinguish some_failed from held.
    """
    paused = is_paused(status.state, status.reason)
    _tag([f"{_OUTCOME}{'paused' if paused else status.state.value}"])


def _tag(tags: list[str]) -> None:
    """Add tags to this flow run. An outcome tag replaces an earlier one."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or set(tags) <= set(run.tags):
        return
    kept = [tag for tag in run.tags if tag not in tags and not tag.startswith(_OUTCOME)]
    try:
        with open_flow_runs() as flow_runs:
            flow_runs.tag(str(run.id), [*kept, *tags])
    except PrefectUnavailable as error:
        get_run_logger().warning("The flow run could not be tagged: %s", error)
        return
    run.tags = [*kept, *tags]


def _plain(value: object) -> Mapping[str, Any]:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value if isinstance(value, Mapping) else {}
