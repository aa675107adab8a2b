"""Deploying: the work pool, the deployments and the automations that are declared as files."""

import copy
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.workers.process import ProcessWorker
from pydantic import ValidationError

from ittybatch.engine.undeclared import retire
from ittybatch.errors import IttybatchError
from ittybatch.project import AUTOMATIONS_FILE, PREFECT_FILE, declared

WORK_POOL = "ittybatch"
RESUME_AUTOMATION = "ittybatch-resume"
_DEPLOY_WITHIN_S = 300


class DeployFailed(IttybatchError):
    """Prefect did not take what is declared."""


@dataclass(frozen=True, slots=True)
class Declared:
    """Where the declarations lie.

    Args:
        root: The folder whose own files replace the package's.
    """

    root: Path = field(default_factory=Path.cwd)

    @property
    def prefect_file(self) -> Path:
        """The deployments."""
        return declared(PREFECT_FILE, self.root)

    @property
    def automations_file(self) -> Path:
        """The automations."""
        return declared(AUTOMATIONS_FILE, self.root)


def deploy(
    *,
    concurrency: int | None = None,
    python: str | None = None,
    declared: Declared | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Apply everything that is declared, and let nothing else of ours run on. Safe to repeat.

    Args:
        concurrency: Flow runs at a time in the work pool. A new pool without it gets two a
            core: each leg is a process.
        python: The interpreter of flow runs, as every worker finds it. Prefect's worker then
            starts the engine at once, and not by way of a process of its own that prepares a
            workspace which these flows do not have. Without it, the pool keeps what it has.
        declared: Where the declarations lie.
        tell: Told each step.

    Raises:
        DeployFailed: when Prefect refuses, or the declarations cannot be read.
    """
    declared = declared or Declared()
    automations = read_automations(declared.automations_file)
    try:
        with get_client(sync_client=True) as client:
            tell(_apply_work_pool(client, concurrency, python))
            _apply_deployments(declared)
            tell(f"Deployments of {declared.prefect_file.name} applied.")
            for automation in automations:
                tell(_apply_automation(client, automation))
            for told in retire(
                client, declared.prefect_file, {automation.name for automation in automations}
            ):
                tell(told)
    except PrefectHTTPStatusError as error:
        raise DeployFailed(
            f"Prefect's API answered {error.response.status_code} while deploying.",
            remedy="Look at the Prefect server's log.",
        ) from error
    except httpx.HTTPError as error:
        raise DeployFailed(
            f"Prefect's API could not be reached: {type(error).__name__}.",
            remedy="Check PREFECT_API_URL, or start everything with `ittybatch up`.",
        ) from error


def read_automations(path: Path) -> list[AutomationCore]:
    """Read the declared automations.

    Raises:
        DeployFailed: when the file is missing, or an automation is not one.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [AutomationCore.model_validate(each) for each in found["automations"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValidationError) as error:
        raise DeployFailed(
            f"{path.name} cannot be used: {error}", remedy="Mend the file and deploy again."
        ) from error


def _apply_work_pool(client: SyncPrefectClient, concurrency: int | None, python: str | None) -> str:
    try:
        pool = client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        limit = concurrency or 2 * (os.cpu_count() or 1)
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(
                name=WORK_POOL,
                type="process",
                concurrency_limit=limit,
                base_job_template=_with_python(template, python),
            )
        )
        return f"Work pool {WORK_POOL} created: {limit} flow runs at a time."
    allowed = concurrency or pool.concurrency_limit
    template = _with_python(pool.base_job_template, python)
    verb = "stands"
    if allowed != pool.concurrency_limit or template != pool.base_job_template:
        wanted = WorkPoolUpdate(concurrency_limit=allowed, base_job_template=template)
        client.update_work_pool(WORK_POOL, wanted)
        verb = "updated"
    return f"Work pool {WORK_POOL} {verb}: {allowed or 'any number of'} flow runs at a time."


def _with_python(template: dict[str, Any], python: str | None) -> dict[str, Any]:
    """The pool's template, with the command that starts a flow run."""
    if python is None:
        return template
    changed = copy.deepcopy(template)
    command = shlex.join([python, "-m", "prefect.engine"])
    changed["variables"]["properties"]["command"]["default"] = command
    return changed


def _apply_deployments(declared: Declared) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter, no input from outside
            [*command, "--prefect-file", str(declared.prefect_file)],
            cwd=declared.root,
            capture_output=True,
            text=True,
            timeout=_DEPLOY_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeployFailed(f"`prefect deploy` did not end within {_DEPLOY_WITHIN_S} s.") from error
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise DeployFailed("`prefect deploy` failed:\n" + "\n".join(lines[-15:]))


def _apply_automation(client: SyncPrefectClient, wanted: AutomationCore) -> str:
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        return f"Automation {wanted.name} created."
    client.update_automation(found[0].id, wanted)
    for extra in found[1:]:
        client.delete_automation(extra.id)
    return f"Automation {wanted.name} stands."
