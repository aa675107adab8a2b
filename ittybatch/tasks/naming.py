"""Naming: what a batch's flow run is called in the Prefect UI."""

import re
from collections.abc import Mapping
from typing import Any

from prefect.context import FlowRunContext
from prefect.runtime import deployment
from pydantic import BaseModel

from ittybatch.engine.source_names import source_name

_LONGEST = 60
# Prefect's own inventions, `witty-otter` and `rho3-wysanti-quadrant`: they say nothing.
_INVENTED = re.compile(r"[a-z0-9'-]+")


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
    return name_of(context.parameters or {}, deployment_name())


def name_of(parameters: Mapping[str, Any], deployed_as: str | None) -> str:
    """Tell from its parameters what a batch is: `nightly: s3://media/uploads/, web`."""
    options, source = _plain(parameters.get("options")), _plain(parameters.get("source"))
    what = options.get("name") or deployed_as or "run-batch"
    name = f"{what}: {_short(source_name(source))}"
    if source.get("type") != "failed":
        name += f", {parameters.get('profile')}"
    return f"{name} (dry run)" if options.get("dry_run") else name


def deployment_name() -> str | None:
    """The name of the deployment that this run is of; None for a direct call."""
    name = deployment.name
    return str(name) if name else None


def _plain(value: object) -> Mapping[str, Any]:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value if isinstance(value, Mapping) else {}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"
