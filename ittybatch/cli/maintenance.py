"""Commands that maintain an installation."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from prefect.settings import get_current_settings

from ittybatch.cli.output import Column, Json, console, print_json, print_table
from ittybatch.cli.recording import operator, recorded_if_possible
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.amounts import format_count
from ittybatch.engine.deployments import Declared, Deployed
from ittybatch.engine.deployments import deploy as apply_declarations
from ittybatch.engine.reconciling import reconcile as reconcile_all
from ittybatch.engine.recording import recorded
from ittybatch.errors import ConfigurationError
from ittybatch.ledger import open_ledger
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.ledger.migrate import upgrade as migrate
from ittybatch.ledger.retention import tidy as remove_old
from ittybatch.ledger.sinks import DeclaredSink, sync_sinks
from ittybatch.prefect.registering import register_blocks
from ittybatch.settings import Settings
from ittybatch.sinks.declared import declared_sinks, for_ledger

_UNITS = {"d": "days", "w": "weeks"}


def deploy(
    *,
    file: Annotated[
        Path | None,
        Parameter(
            help="The file of deployments. Default: this folder's prefect.yaml if it deploys "
            "flows of ittybatch, otherwise the file in the package."
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        Parameter(help="Maximum concurrent flow runs in each work pool of the file."),
    ] = None,
    python: Annotated[
        str | None,
        Parameter(
            help="The Python for flow runs, valid on every worker: a path, or `python`. Each leg "
            "then starts over a second sooner. Default: Prefect's worker chooses its own."
        ),
    ] = None,
) -> int:
    """Create or update work pool, deployments and automations in Prefect. Safe to repeat.

    Prints the file that was applied, and each deployment with its schedule and next run.
    """
    if get_current_settings().api.url is None:
        raise ConfigurationError(
            "PREFECT_API_URL is not set.",
            remedy="Set it to your Prefect server's API, or start one with `ittybatch up`.",
        )
    settings = Settings()
    sinks = declared_sinks(settings)
    given = {"file": file and str(file), "concurrency": concurrency, "python": python}
    given = {name: value for name, value in given.items() if value is not None}
    with recorded_if_possible(settings, "deploy", details=given) as record:
        deployed = apply_declarations(
            concurrency=concurrency,
            python=python,
            declared=Declared(file=file) if file else None,
            tell=console.print,
        )
        record.outcome = f"Applied {deployed.prefect_file}."
    console.print(f"Applied {deployed.prefect_file}", markup=False, style="bold")
    print_table(
        "Deployments", ("Deployment", "Schedule", Column("Next run", prose=True)), _rows(deployed)
    )
    if sinks:
        _declare_sinks(settings, for_ledger(sinks))
    register_blocks()
    return SUCCEEDED


def _declare_sinks(settings: Settings, sinks: Sequence[DeclaredSink]) -> None:
    """Keep results for new sinks from now on; only a receiver makes sinks inactive.

    This machine's file need not be the receiver's.
    """
    names = ", ".join(each.name for each in sinks)
    try:
        open_ledger(settings, patience_s=3).write(sync_sinks, sinks, keep_others=True)
    except LedgerUnavailable as error:
        console.print(f"Sinks: {names} get results once a receiver starts. {error}", markup=False)
        return
    console.print(
        f"Sinks: results are kept for {names}. Restart the receiver to deliver to new ones."
    )


def _rows(deployed: Deployed) -> Iterator[tuple[str, str, str]]:
    for name, schedules in sorted(deployed.deployments.items()):
        if not schedules:
            yield name, "", ""
        for each in schedules:
            next_run = f"{each.next_run.astimezone():%Y-%m-%d %H:%M %Z}" if each.next_run else ""
            yield name, each.when, next_run if each.active else "none: inactive"


def upgrade(*, json: Json = False) -> int:
    """Bring the ledger's tables to this version, in one transaction. Safe to repeat."""
    revision = migrate(open_ledger(Settings()))
    if json:
        print_json({"revision": revision})
    else:
        console.print(f"The ledger is at revision {revision}.")
    return SUCCEEDED


def reconcile(*, json: Json = False) -> int:
    """Poll jobs whose webhook is overdue, wake waiting runs, replace lost ones.

    The `reconcile` deployment does this on a schedule. Concurrent runs are safe.
    """
    settings = Settings()
    done = asyncio.run(reconcile_all(settings, open_ledger(settings)))
    if json:
        print_json(done)
        return SUCCEEDED
    for what, count in done.items():
        console.print(f"{count:>7,}  {what}")
    return SUCCEEDED


def tidy(
    *,
    older_than: Annotated[
        str | None,
        Parameter(
            help="Only data of batches that ended longer ago than this: 30d, 8w. Default: "
            "ITTYBATCH_KEEP_DAYS days."
        ),
    ] = None,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Count what would be removed, but remove nothing.")
    ] = False,
    json: Json = False,
) -> int:
    """Remove webhook bodies, polled answers, rejected rows and the outbox of old batches.

    Jobs, attempts, results and everything that prevents double billing stay. Safe to repeat, to
    interrupt, and to run while batches run.
    """
    settings = Settings()
    age = _age(older_than) if older_than else timedelta(days=settings.keep_days)
    sleep = settings.longest_sleep
    ledger = open_ledger(settings)
    if dry_run:
        removed = remove_old(ledger, older_than=age, flow_runs_sleep=sleep, dry_run=True)
    else:
        with recorded(ledger, operator(), "db tidy", details={"older_than": f"{age}"}) as record:
            removed = remove_old(ledger, older_than=age, flow_runs_sleep=sleep)
            record.outcome = f"Tidied {format_count(removed.batches, 'batch', 'batches')}."
    if json:
        print_json(asdict(removed))
        return SUCCEEDED
    for what, count in (
        ("batches that ended before", removed.batches),
        ("webhooks", removed.deliveries),
        ("polled answers", removed.outcomes),
        ("rejected rows", removed.rejects),
        ("delivered results", removed.delivered),
        ("old answers to requests with a key", removed.requests),
        ("bytes in them", removed.size_bytes),
    ):
        console.print(f"{count:>15,}  {what}")
    if dry_run:
        console.print("Nothing was removed. `ittybatch db tidy` removes it.")
    return SUCCEEDED


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,3})([dw])", text.strip())
    if found is None:
        raise ConfigurationError(
            f"--older-than cannot be {text!r}.",
            remedy="Write days or weeks, such as 30d or 8w.",
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
