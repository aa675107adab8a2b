"""The commands `ittybatch up` and `ittybatch sandbox`."""

import signal
import threading
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import ValidationError

from ittybatch.cli.output import console, refused
from ittybatch.cli.status import SUCCEEDED
from ittybatch.errors import ConfigurationError
from ittybatch.settings import Settings
from ittybatch_local.browser import OpenPage, open_page_in_browser
from ittybatch_local.stack import LocalStack
from ittybit_sandbox import SandboxConfig, SandboxError, WebhookDialect
from ittybit_sandbox import serve as serve_sandbox

Faults = Annotated[
    Path | None, Parameter(help="A YAML or JSON file of faults for the sandbox to inject.")
]
Seed = Annotated[int, Parameter(help="Seed of the random choice of faults.")]
Instant = Annotated[bool, Parameter(negative="", help="Complete jobs without encoding.")]
Dialect = Annotated[
    WebhookDialect,
    Parameter(
        help="Shape of the sandbox's webhooks. Ittybit's guides show three: `flat` reports "
        "`succeeded`, `completed` reports `completed`, `envelope` wraps the job in event and data."
    ),
]


def sandbox(
    *,
    host: Annotated[str, Parameter(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="The port; 0 chooses a free one.")] = 8400,
    instant: Instant = False,
    seed: Seed = 0,
    faults: Faults = None,
    dialect: Dialect = WebhookDialect.FLAT,
    state: Annotated[
        Path | None, Parameter(help="The folder that keeps jobs and outputs across restarts.")
    ] = None,
) -> int:
    """Run a local Ittybit: the same API and signed webhooks, with real ffmpeg behind them.

    It accepts ITTYBIT_API_KEY, signs with ITTYBIT_WEBHOOK_SECRET, and reads and writes s3:// with
    the usual AWS settings. Never expose it to other machines.
    """
    settings = Settings()
    # The newest secret signs; older ones only verify.
    secret = next((each.decode() for each in settings.webhook_secrets), None)
    given = {"api_key": settings.api_key, "webhook_secret": secret}
    try:
        serve_sandbox(
            SandboxConfig.model_validate(
                {
                    "host": host,
                    "port": port,
                    "instant": instant,
                    "seed": seed,
                    "webhook_dialect": dialect,
                    "state_dir": state or settings.home / "sandbox",
                    **({"faults": faults} if faults else {}),
                    **{name: value for name, value in given.items() if value},
                }
            )
        )
    except ValidationError as error:
        raise refused(error) from error
    except SandboxError as error:
        raise ConfigurationError(str(error)) from error
    return SUCCEEDED


def up(
    *,
    instant: Instant = False,
    seed: Seed = 0,
    faults: Faults = None,
    dialect: Dialect = WebhookDialect.FLAT,
    real: Annotated[
        bool,
        Parameter(negative="", help="Use the real Ittybit and your own S3."),
    ] = False,
    worker_limit: Annotated[int | None, Parameter(help="Concurrent flow runs.")] = None,
    open_page: OpenPage = False,
) -> int:
    """Run the whole local stack until Ctrl-C: Prefect, worker, receiver, sandbox, S3.

    Each service logs to .ittybatch/logs/ and is restarted if it dies. Other `ittybatch` commands
    in this folder use the stack.
    """
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    stack = LocalStack(
        Settings().home,
        sandbox=not real,
        s3=not real,
        instant=instant,
        seed=seed,
        faults=faults,
        dialect=dialect,
        worker_limit=worker_limit,
        on_event=lambda line: console.print(line, style="dim", markup=False),
    )
    with stack:
        console.print(f"\n{'Page':12} {stack.page_url}", style="bold")
        for what, url in (
            ("Prefect UI", stack.prefect_url),
            ("Sign in with", stack.prefect_auth),
            ("Webhooks", f"{stack.receiver_url}/webhooks/ittybit"),
            ("API", f"{stack.receiver_url}/process"),
            # One that the user has set is known to them, and is printed nowhere.
            ("API token", stack.api_token if Settings().api_token is None else None),
            ("Sandbox", stack.sandbox_url),
            ("S3", stack.s3_url),
        ):
            if url:
                console.print(f"{what:12} {url}")
        console.print(f"{'Logs':12} {stack.home / 'logs'}")
        console.print(f"{'Environment':12} set -a; . {stack.env_file}\n")
        console.print(f"{stack.request_example}\n", markup=False)
        console.print("Ctrl-C stops everything.")
        if open_page:
            open_page_in_browser(stack.page_url)
        try:
            stopping.wait()
        except KeyboardInterrupt:
            console.print("\nStopping ...")
    return SUCCEEDED
