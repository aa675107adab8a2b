"""Keys that let a flow start something again after it was suspended, and find what it started."""

import uuid

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext


def repeatable_key(digest: str) -> str:
    """A key for what this flow run starts; another one each time outside a flow run.

    Args:
        digest: Digest of what is started.
    """
    run = _flow_run()
    return f"prefect:{run.id}:{digest}" if run is not None else f"prefect:{uuid.uuid4()}"


def in_flow_run() -> bool:
    """Whether this is a flow run, so that its keys are the same when it begins again."""
    return _flow_run() is not None


def _flow_run() -> FlowRun | None:
    context = FlowRunContext.get()
    return context.flow_run if context else None
