"""Keys that let a flow start something again after it was suspended, and find what it started."""

import uuid

from prefect.context import FlowRunContext


def repeatable_key(digest: str) -> str:
    """A key for what this flow run starts; another one each time outside a flow run.

    Args:
        digest: Digest of what is started.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return f"prefect:{run.id}:{digest}" if run is not None else f"prefect:{uuid.uuid4()}"
