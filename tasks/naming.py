"""Naming: what a batch's flow run is called in the Prefect UI."""

import re
from collections.abc import Mapping
from typing import Any

from prefect.context import FlowRunContext
from pydantic import BaseModel

_LONGEST = 60
# Prefect's own inventions, `witty-otter` and `rho3-wysanti-quadrant`: they say nothing.
_INVENTED = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")


def batch_run_name() -> str:
    """Name a run for what it does, unless somebody has named it.

    Each leg asks again; the name of the first is taken for somebody's, and stays.
    """
    context = FlowRunContext.get()
    if context is None:
        return "run-batch"
    given = context.flow_run.name if context.flow_run else ""
    if given and not _INVENTED.fullmatch(given):
        return given
    return name_of(context.parameters, deployment_name())


def name_of(parameters: Mapping[str, Any], deployment: str | None) -> str:
    """Tell from its parameters what a batch is: `nightly: s3://media/uploads/, web`."""
    options, source = _plain(parameters.get("options")), _plain(parameters.get("source"))
    what = options.get("name") or deployment or "run-batch"
    if source.get("type") == "failed":
        return f"{what}: failed jobs of {source.get('batch')}"
    name = f"{what}: {_short(str(source.get('uri', '')))}, {parameters.get('profile')}"
    return f"{name} (dry run)" if options.get("dry_run") else name


def deployment_name() -> str | None:
    """The name of the deployment that this run is of; None for a direct call."""
    context = FlowRunContext.get()
    labels = context.flow_run.labels if context and context.flow_run else {}
    name = labels.get("prefect.deployment.name") if labels else None
    return str(name) if name else None


def _plain(value: object) -> Mapping[str, Any]:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value if isinstance(value, Mapping) else {}


def _short(uri: str) -> str:
    # The query of a URL may sign it.
    uri = uri.partition("?")[0] if uri.startswith("http") else uri
    return uri if len(uri) <= _LONGEST else f"{uri[: _LONGEST // 2]}…{uri[-_LONGEST // 2 :]}"
