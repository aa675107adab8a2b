"""Check Prefect: server, worker, deployments, automation and events."""

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings

from ittybatch.engine.deployments import RESUME_AUTOMATION, Declared
from ittybatch.engine.finding import Finding, Grade
from ittybatch.engine.flow_runs import (
    BATCH_DEPLOYMENT,
    CHUNK_DEPLOYMENT,
    FlowRuns,
    PrefectUnavailable,
)
from ittybatch.engine.undeclared import leftover_schedules
from ittybatch.engine.work_pools import UnreadableDeclarations, WrongPoolType, declared_pools
from ittybatch.ittybit.redaction import without_secrets
from ittybatch.project import RUN_DEPLOY

_WORKER_SILENT_AFTER = timedelta(minutes=3)
_CLOCKS_MAY_DIFFER_S = 5


def check_prefect() -> Iterator[Finding]:
    """Check that Prefect can start, wake and resume the flow runs of batches."""
    api_url = get_current_settings().api.url
    if api_url is None:
        yield Finding(
            "Prefect API",
            Grade.BROKEN,
            "PREFECT_API_URL is not set.",
            "Set it to your server's API, or start one with `ittybatch up`.",
        )
        return
    url = without_secrets(api_url)
    try:
        with get_client(sync_client=True) as client:
            version = client.api_version()
            yield Finding("Prefect API", Grade.OK, f"{url}, version {version}.")
            for check in (
                _check_clock,
                _check_worker,
                _check_deployments,
                _check_automation,
                _check_events,
            ):
                yield from check(client)
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        yield Finding(
            "Prefect API",
            Grade.BROKEN,
            f"{url} does not answer correctly ({type(error).__name__}).",
            "Check PREFECT_API_URL and the server's log.",
        )


def _check_clock(client: SyncPrefectClient) -> Iterator[Finding]:
    behind_s = round(FlowRuns(client).server_ahead().total_seconds())
    if abs(behind_s) <= _CLOCKS_MAY_DIFFER_S:
        return
    side = "behind" if behind_s > 0 else "ahead of"
    yield Finding(
        "Clock",
        Grade.WARNING,
        f"This machine's clock is {abs(behind_s):,} s {side} the Prefect server's. A worker whose "
        "clock is behind starts and resumes flow runs that much later.",
        "Synchronise the clocks of all machines (NTP).",
    )


def _check_worker(client: SyncPrefectClient) -> Iterator[Finding]:
    try:
        pools = declared_pools(Declared().prefect_file)
    except (UnreadableDeclarations, WrongPoolType) as error:
        yield Finding("Worker", Grade.WARNING, error.message, error.remedy or "")
        return
    for each in pools:
        yield from _check_pool(client, each.name)


def _check_pool(client: SyncPrefectClient, name: str) -> Iterator[Finding]:
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        yield Finding("Worker", Grade.BROKEN, f"There is no work pool {name}.", RUN_DEPLOY)
        return
    if pool.is_paused:
        yield Finding(
            "Worker",
            Grade.BROKEN,
            f"Work pool {name} is paused.",
            f"Run `prefect work-pool resume {shlex.quote(name)}`.",
        )
        return
    if pool.is_push_pool or pool.is_managed_pool:
        return  # Prefect starts its runs without a worker.
    workers = client.read_workers_for_work_pool(name)
    heard = [worker.last_heartbeat_time for worker in workers if worker.last_heartbeat_time]
    now = datetime.now(UTC) + FlowRuns(client).server_ahead()
    if heard and now - max(heard) < _WORKER_SILENT_AFTER:
        yield Finding(
            "Worker",
            Grade.OK,
            f"{name}: last seen at {max(heard):%H:%M:%S} UTC; {pool.concurrency_limit} flow runs "
            "at once.",
        )
    else:
        yield Finding(
            "Worker",
            Grade.BROKEN,
            f"No worker of the pool {name} has been seen for minutes: no run would start or "
            "resume.",
            f"Run `prefect worker start --pool {shlex.quote(name)}` (without --limit).",
        )


def _check_deployments(client: SyncPrefectClient) -> Iterator[Finding]:
    missing = []
    for name in (BATCH_DEPLOYMENT, CHUNK_DEPLOYMENT, "reconcile/reconcile"):
        try:
            client.read_deployment_by_name(name)
        except ObjectNotFound:
            missing.append(name)
    if missing:
        yield Finding("Deployments", Grade.BROKEN, f"missing: {', '.join(missing)}", RUN_DEPLOY)
        return
    file = Declared().prefect_file
    try:
        leftovers = leftover_schedules(client, file)
    except (UnreadableDeclarations, WrongPoolType) as error:
        yield Finding("Deployments", Grade.WARNING, error.message, error.remedy or "")
        return
    if leftovers:
        names = "; ".join(leftover.describe() for leftover in leftovers)
        yield Finding(
            "Deployments",
            Grade.WARNING,
            f"still active, and not declared in {file}: {names}.",
            "If another file is yours, run `ittybatch doctor` in its folder. Otherwise declare "
            "them in this file, or run `ittybatch deploy` here, which sets them inactive.",
        )
    else:
        yield Finding("Deployments", Grade.OK, "all exist.")


def _check_automation(client: SyncPrefectClient) -> Iterator[Finding]:
    found = client.read_automations_by_name(RESUME_AUTOMATION)
    if not found:
        yield Finding(
            "Automation",
            Grade.WARNING,
            f"{RESUME_AUTOMATION} is missing: runs are resumed through the API, seconds later.",
            RUN_DEPLOY,
        )
    elif not found[0].enabled:
        yield Finding(
            "Automation",
            Grade.WARNING,
            f"{RESUME_AUTOMATION} is disabled: runs are resumed through the API, seconds later.",
            "Enable it in Prefect's UI.",
        )
    else:
        yield Finding("Automation", Grade.OK, f"{RESUME_AUTOMATION} is enabled.")


def _check_events(client: SyncPrefectClient) -> Iterator[Finding]:
    try:
        FlowRuns(client).send_test_event()
    except PrefectUnavailable as error:
        yield Finding(
            "Events",
            Grade.WARNING,
            f"{error.message} Runs are resumed through the API, seconds later.",
            "Allow this machine to POST to /api/events: check the proxy in front of Prefect, and "
            "the role of its API key.",
        )
    else:
        yield Finding("Events", Grade.OK, "Prefect accepts the events that resume runs.")
