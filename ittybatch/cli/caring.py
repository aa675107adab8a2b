"""Commands that keep an installation in order."""

import asyncio
from typing import Annotated

from cyclopts import Parameter
from prefect.settings import get_current_settings

from ittybatch.cli.output import Json, console, print_json
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.deployments import deploy as apply_declarations
from ittybatch.engine.reconciling import reconcile as bring_together
from ittybatch.errors import ConfigurationError
from ittybatch.ledger import open_ledger
from ittybatch.ledger.migrate import upgrade as migrate
from ittybatch.settings import Settings


def deploy(
    *,
    concurrency: Annotated[
        int | None, Parameter(help="Flow runs at a time in the work pool; each is a process.")
    ] = None,
    python: Annotated[
        str | None,
        Parameter(
            help="The Python of flow runs, as every worker finds it: a path, or `python`. Each leg"
            " then starts over a second sooner. Without it, Prefect's worker chooses its own."
        ),
    ] = None,
) -> int:
    """Create or update work pool, deployments and automations in Prefect. Safe to repeat."""
    if get_current_settings().api.url is None:
        raise ConfigurationError(
            "PREFECT_API_URL is not set.",
            remedy="Set it to your Prefect server's API, or start one with `ittybatch up`.",
        )
    apply_declarations(concurrency=concurrency, python=python, tell=console.print)
    return SUCCEEDED


def upgrade(*, json: Json = False) -> int:
    """Bring the ledger's tables to this version, in one transaction. Safe to repeat."""
    revision = migrate(open_ledger(Settings()))
    if json:
        print_json({"revision": revision})
    else:
        console.print(f"The ledger is at revision {revision}.")
    return SUCCEEDED


def reconcile(*, json: Json = False) -> int:
    """Ask for what no webhook told, wake what waits, replace runs that are gone.

    The `reconcile` deployment does this on a schedule; two at once do no harm.
    """
    settings = Settings()
    done = asyncio.run(bring_together(settings, open_ledger(settings)))
    if json:
        print_json(done)
        return SUCCEEDED
    for what, count in done.items():
        console.print(f"{count:>7,}  {what}")
    return SUCCEEDED
