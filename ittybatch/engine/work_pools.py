"""The work pools that `prefect.yaml` names: created with their declared type, and updated.

Prefect's own `work_pool` has a name, a queue and job variables. We read one more key of it, `type`,
which `prefect deploy` ignores.
"""

import asyncio
import copy
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound

from ittybatch.errors import IttybatchError

WORK_POOL = "ittybatch"
PROCESS = "process"


class UnreadableDeclarations(IttybatchError):
    """`prefect.yaml` cannot be read as deployments."""


class WrongPoolType(IttybatchError):
    """A work pool has another type than the declared one."""


@dataclass(frozen=True, slots=True)
class DeclaredPool:
    """A work pool that deployments name.

    Args:
        name: Its name.
        type: The type of its workers, such as `process`, `docker` or `kubernetes`; None if the file
            does not say it.
    """

    name: str
    type: str | None


def read_deployments(prefect_file: Path) -> dict[str, Mapping[str, Any]]:
    """Read the entries of a file of deployments, by name.

    Raises:
        UnreadableDeclarations: The file cannot be read.
    """
    try:
        entries = yaml.safe_load(prefect_file.read_text(encoding="utf-8"))["deployments"]
        return {str(entry["name"]): entry for entry in entries}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UnreadableDeclarations(
            f"{prefect_file.name} cannot be read as deployments: {error}.",
            remedy="Correct the file and run `ittybatch deploy` again.",
        ) from error


def declared_pools(prefect_file: Path) -> list[DeclaredPool]:
    """List the work pools that a file of deployments names.

    Raises:
        UnreadableDeclarations: The file cannot be read.
        WrongPoolType: The file gives two types to one pool.
    """
    types: dict[str, str | None] = {}
    for name, entry in read_deployments(prefect_file).items():
        pool = entry.get("work_pool") or {}
        pool_name, pool_type = str(pool.get("name") or WORK_POOL), pool.get("type")
        known = types.setdefault(pool_name, pool_type)
        if known is None:
            types[pool_name] = pool_type
        elif pool_type not in {None, known}:
            raise WrongPoolType(
                f"{prefect_file.name}: the deployment {name!r} gives the work pool {pool_name!r} "
                f"the type {pool_type!r}, and another one {known!r}. Nothing was deployed.",
                remedy="Give them the same type, or pools of different names.",
            )
    return [DeclaredPool(name, pool_type) for name, pool_type in types.items()]


def apply_pool(
    client: SyncPrefectClient, declared: DeclaredPool, concurrency: int | None, python: str | None
) -> str:
    """Create a work pool, or set its limit and its command.

    Args:
        client: Client of the Prefect server.
        declared: The pool.
        concurrency: Concurrent flow runs; None for two per core in a new pool, because each leg
            of a process pool is a process, and for no change in another.
        python: The interpreter for flow runs; None for no change.

    Returns:
        What was done.

    Raises:
        WrongPoolType: The pool exists with another type, which Prefect cannot change.
    """
    try:
        pool = client.read_work_pool(declared.name)
    except ObjectNotFound:
        return _create(client, declared, concurrency, python)
    if declared.type not in {None, pool.type}:
        raise WrongPoolType(
            f"The work pool {pool.name!r} has the type {pool.type!r} in Prefect, and prefect.yaml "
            f"says {declared.type!r}. Prefect cannot change it. No deployment was changed.",
            remedy="Give the pool another name in prefect.yaml. Or end its batches, run "
            f"`prefect work-pool delete {shlex.quote(pool.name)}`, and then `ittybatch deploy`.",
        )
    return _update(client, pool, concurrency, python)


def _create(
    client: SyncPrefectClient, declared: DeclaredPool, concurrency: int | None, python: str | None
) -> str:
    limit = concurrency or 2 * (os.cpu_count() or 1)
    kind = declared.type or PROCESS
    # The receiver's page checks pools, and needs no worker's code.
    from prefect.workers.utilities import (  # noqa: PLC0415
        get_default_base_job_template_for_infrastructure_type,
    )

    # Without a template, the first worker of the pool brings its own.
    template = asyncio.run(get_default_base_job_template_for_infrastructure_type(kind)) or {}
    client.create_work_pool(
        WorkPoolCreate(
            name=declared.name,
            type=kind,
            concurrency_limit=limit,
            base_job_template=_with_python(template, python),
        )
    )
    return f"Work pool {declared.name} ({kind}) created: {limit} concurrent flow runs."


def _update(
    client: SyncPrefectClient, pool: WorkPool, concurrency: int | None, python: str | None
) -> str:
    allowed = concurrency or pool.concurrency_limit
    template = _with_python(pool.base_job_template, python)
    verb = "unchanged"
    if allowed != pool.concurrency_limit or template != pool.base_job_template:
        wanted = WorkPoolUpdate(concurrency_limit=allowed, base_job_template=template)
        client.update_work_pool(pool.name, wanted)
        verb = "updated"
    return (
        f"Work pool {pool.name} ({pool.type}) {verb}: {allowed or 'any number of'} concurrent flow "
        "runs."
    )


def _with_python(template: dict[str, Any], python: str | None) -> dict[str, Any]:
    """Set the command that starts flow runs in a work pool's template, if it has one."""
    if python is None or "command" not in template.get("variables", {}).get("properties", {}):
        return template
    changed = copy.deepcopy(template)
    command = shlex.join([python, "-m", "prefect.engine"])
    changed["variables"]["properties"]["command"]["default"] = command
    return changed
