"""Tags: what a flow run is filtered by in the Prefect UI."""

from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from ittybatch.engine.flow_runs import PrefectUnavailable, open_flow_runs
from ittybatch.ledger.control import is_paused
from ittybatch.ledger.queries import BatchStatus

_OUTCOME = "outcome:"


def tag_batch(batch: str) -> None:
    """Tag this flow run as the batch's chunks are tagged, so that a filter shows all of them."""
    _tag([f"batch:{batch}"])


def tag_outcome(status: BatchStatus) -> None:
    """Tag this flow run with the state that its batch has in the ledger, or `paused`.

    Prefect's Failed means both some_failed and held.
    """
    paused = is_paused(status.state, status.reason)
    _tag([f"{_OUTCOME}{'paused' if paused else status.state.value}"])


def _tag(tags: list[str]) -> None:
    """Add tags to this flow run; an outcome takes the place of an earlier one."""
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
