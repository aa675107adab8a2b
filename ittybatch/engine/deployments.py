"""Deploy: create the declared work pool, deployments and automations in Prefect."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import TypeAdapter, ValidationError

from ittybatch.engine.undeclared import our_deployments, retire, show_schedule
from ittybatch.engine.work_pools import DeclaredPool, apply_pool, declared_pools
from ittybatch.errors import IttybatchError
from ittybatch.project import AUTOMATIONS_FILE, PREFECT_FILE, declared

RESUME_AUTOMATION = "ittybatch-resume"
_DEPLOY_TIMEOUT_S = 300


class DeployFailed(IttybatchError):
    """Prefect refused the declarations, or they could not be read."""


@dataclass(frozen=True, slots=True)
class Declared:
    """The files that declare deployments and automations.

    Args:
        root: A folder; its own files replace those of the package.
        file: The file of deployments, instead of the one in the folder.
    """

    root: Path = field(default_factory=Path.cwd)
    file: Path | None = None

    @property
    def prefect_file(self) -> Path:
        """The file of deployments."""
        return self.file.absolute() if self.file else declared(PREFECT_FILE, self.root)

    @property
    def automations_file(self) -> Path:
        """The file of automations."""
        return declared(AUTOMATIONS_FILE, self.root)


@dataclass(frozen=True, slots=True)
class DeployedSchedule:
    """A schedule of a deployment.

    Args:
        when: The schedule, for example `` `0 2 * * *` `` or `every 300 s`.
        active: Whether the schedule starts runs.
        next_run: Start of the next run; None if the schedule is inactive.
    """

    when: str
    active: bool
    next_run: datetime | None


@dataclass(frozen=True, slots=True)
class Deployed:
    """The result of a deployment.

    Args:
        prefect_file: The file that was applied.
        deployments: The schedules of each of our deployments in Prefect, by `flow/deployment`.
    """

    prefect_file: Path
    deployments: Mapping[str, Sequence[DeployedSchedule]]


def deploy(
    *,
    concurrency: int | None = None,
    python: str | None = None,
    declared: Declared | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Deployed:
    """Apply the declarations, and deactivate whatever is ours but not declared. Safe to repeat.

    Args:
        concurrency: Concurrent flow runs in each declared work pool. Default for a new pool: two
            per core, because each leg is a process.
        python: Path of the interpreter for flow runs, valid on every worker. With it, Prefect's
            worker starts the engine directly. Without it, an extra process first prepares a
            workspace that these flows do not need. Default: keep the pool's setting.
        declared: The files to apply. Default: `prefect.yaml` of the current folder if it declares
            our flows, otherwise the package's.
        tell: Called with a line for each step.

    Raises:
        DeployFailed: Prefect refused the declarations, or they could not be read.
        UnreadableDeclarations: `prefect.yaml` cannot be read as deployments.
        WrongPoolType: A work pool has another type than the file says.
    """
    declared = declared or Declared()
    automations = read_automations(declared.automations_file)
    pools = declared_pools(declared.prefect_file)
    try:
        with get_client(sync_client=True) as client:
            for pool in pools:
                tell(apply_pool(client, pool, concurrency, python))
            _apply_deployments(declared)
            tell(f"Deployments of {declared.prefect_file.name} applied.")
            for automation in automations:
                tell(_apply_automation(client, automation))
            for line in retire(
                client, declared.prefect_file, {automation.name for automation in automations}
            ):
                tell(line)
            return Deployed(declared.prefect_file, _schedules(client, pools))
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


def _schedules(
    client: SyncPrefectClient, pools: Sequence[DeclaredPool]
) -> dict[str, list[DeployedSchedule]]:
    now = datetime.now(UTC)
    return {
        name: [
            DeployedSchedule(
                show_schedule(each), each.active, _next_run(each, now) if each.active else None
            )
            for each in deployment.schedules
        ]
        for name, deployment in our_deployments(client, pools)
    }


def _next_run(schedule: DeploymentSchedule, now: datetime) -> datetime | None:
    """Compute the next run of a schedule with Prefect's own scheduler."""
    # This import takes a second.
    from prefect.server.schemas.schedules import SCHEDULE_TYPES  # noqa: PLC0415

    found: SCHEDULE_TYPES = TypeAdapter(SCHEDULE_TYPES).validate_python(
        schedule.schedule.model_dump()
    )
    dates = asyncio.run(found.get_dates(n=1, start=now))
    return dates[0] if dates else None


def read_automations(path: Path) -> list[AutomationCore]:
    """Read the declared automations.

    Raises:
        DeployFailed: The file is missing, or an automation is invalid.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [AutomationCore.model_validate(each) for each in found["automations"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValidationError) as error:
        raise DeployFailed(
            f"{path.name} cannot be used: {error}", remedy="Correct the file and deploy again."
        ) from error


def _apply_deployments(declared: Declared) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter, no input from outside
            [*command, "--prefect-file", str(declared.prefect_file)],
            cwd=declared.root,
            capture_output=True,
            text=True,
            timeout=_DEPLOY_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeployFailed(f"`prefect deploy` did not finish in {_DEPLOY_TIMEOUT_S} s.") from error
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
    return f"Automation {wanted.name} updated."
