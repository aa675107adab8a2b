"""Remove from the Prefect server what `prefect.yaml` no longer declares.

`prefect deploy` sends schedules, parameters and limits only if the file has some. A schedule that
was removed from the file would stay active, and its runs would cost money.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from ittybatch.engine.work_pools import DeclaredPool, declared_pools, read_deployments

OUR_AUTOMATIONS = "ittybatch-"
_FLOWS = frozenset(
    {
        "run-batch",
        "process-chunk",
        "reconcile",
        "steer-batch",
        "adopt-batch",
        "check-bucket",
        "tidy-ledger",
    }
)
_PAGE = 200


@dataclass(frozen=True, slots=True)
class Leftover:
    """An active schedule that the file does not declare.

    Args:
        deployment: The deployment, as `flow/deployment`.
        declared: Whether the file still declares the deployment.
        schedule: The schedule in Prefect.
        deployment_id: Prefect's id of the deployment.
    """

    deployment: str
    declared: bool
    schedule: DeploymentSchedule
    deployment_id: Any

    def describe(self) -> str:
        """Name the schedule and its deployment."""
        why = "" if self.declared else ", a deployment that prefect.yaml does not declare"
        return f"the schedule {show_schedule(self.schedule)} of {self.deployment}{why}"


def leftover_schedules(client: SyncPrefectClient, prefect_file: Path) -> list[Leftover]:
    """List active schedules of our deployments that the file does not declare.

    Raises:
        UnreadableDeclarations: The file cannot be read.
    """
    declared = read_deployments(prefect_file)
    return [
        Leftover(name, deployment.name in declared, schedule, deployment.id)
        for name, deployment in our_deployments(client, declared_pools(prefect_file))
        for schedule in deployment.schedules
        if schedule.active and not _declares(declared.get(deployment.name), schedule)
    ]


def retire(client: SyncPrefectClient, prefect_file: Path, automations: set[str]) -> Iterator[str]:
    """Deactivate what is not declared; yield a line for each change.

    Args:
        client: Client of the Prefect server to which the file was just deployed.
        prefect_file: The file of deployments.
        automations: Names of the declared automations.

    Raises:
        UnreadableDeclarations: The file cannot be read.
    """
    for leftover in leftover_schedules(client, prefect_file):
        client.update_deployment_schedule(
            leftover.deployment_id, leftover.schedule.id, active=False
        )
        yield f"SET INACTIVE: {leftover.describe()}. It starts no more runs."
    declared = read_deployments(prefect_file)
    for name, deployment in our_deployments(client, declared_pools(prefect_file)):
        if (entry := declared.get(deployment.name)) is not None:
            yield from _remove_undeclared(client, name, deployment, entry)
    for automation in client.read_automations():
        ours = automation.name.startswith(OUR_AUTOMATIONS)
        if ours and automation.enabled and automation.name not in automations:
            client.pause_automation(automation.id)
            yield f"PAUSED: automation {automation.name}, which automations.yaml does not declare."


def _remove_undeclared(
    client: SyncPrefectClient, name: str, deployment: DeploymentResponse, entry: Mapping[str, Any]
) -> Iterator[str]:
    parameters = entry.get("parameters") or {}
    if gone := sorted(deployment.parameters.keys() - parameters.keys()):
        kept = {key: value for key, value in deployment.parameters.items() if key not in gone}
        client.update_deployment(deployment.id, DeploymentUpdate(parameters=kept))
        yield f"REMOVED: parameters {', '.join(gone)} of {name}."
    if deployment.global_concurrency_limit is not None and "concurrency_limit" not in entry:
        client.update_deployment(deployment.id, DeploymentUpdate(concurrency_limit=None))
        yield f"REMOVED: the concurrency limit of {name}."


def our_deployments(
    client: SyncPrefectClient, pools: Sequence[DeclaredPool]
) -> Iterator[tuple[str, DeploymentResponse]]:
    """Yield the deployments of our flows in these work pools, by `flow/deployment`."""
    flows: dict[Any, str] = {}
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool.name for pool in pools]))
    for page in count():
        found = client.read_deployments(work_pool_filter=in_pool, limit=_PAGE, offset=page * _PAGE)
        for deployment in found:
            if deployment.flow_id not in flows:
                flows[deployment.flow_id] = client.read_flow(deployment.flow_id).name
            if flows[deployment.flow_id] in _FLOWS:
                yield f"{flows[deployment.flow_id]}/{deployment.name}", deployment
        if len(found) < _PAGE:
            return


def _declares(entry: Mapping[str, Any] | None, schedule: DeploymentSchedule) -> bool:
    """Whether a deployment's entry in the file declares a schedule of the server.

    If the file has schedules, Prefect replaces every schedule except those with the same slug.
    """
    schedules = (entry or {}).get("schedules") or []
    if entry and entry.get("schedule"):
        schedules = [*schedules, entry["schedule"]]
    named = {each.get("slug") for each in schedules if isinstance(each, Mapping)}
    return bool(schedules) and (schedule.slug is None or schedule.slug in named)


def show_schedule(schedule: DeploymentSchedule) -> str:
    """Format a schedule in the notation of `prefect.yaml`."""
    match schedule.schedule:
        case CronSchedule(cron=cron):
            return f"`{cron}`"
        case IntervalSchedule(interval=interval):
            return f"every {interval.total_seconds():,.0f} s"
        case RRuleSchedule(rrule=rrule):
            return f"`{rrule}`"
        case _:
            return str(schedule.id)
