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
from ittybatch_local.stack import LocalStack
from ittybit_sandbox import SandboxConfig, SandboxError, WebhookDialect
from ittybit_sandbox import serve as serve_sandbox

Faults = Annotated[
    Path | None, Parameter(help="A YAML or JSON file of faults that the sandbox injects.")
]
Seed = Annotated[int, Parameter(help="What the faults' chances start from.")]
Instant = Annotated[bool, Parameter(negative="", help="Complete jobs without encoding, for load.")]
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
    port: Annotated[int, Parameter(help="The port; 0 takes a free one.")] = 8400,
    instant: Instant = False,
    seed: Seed = 0,
    faults: Faults = None,
    dialect: Dialect = WebhookDialect.FLAT,
    state: Annotated[
        Path | None, Parameter(help="Where jobs and outputs are kept across restarts.")
    ] = None,
) -> int:
    """Run a local Ittybit: the same API and signed webhooks, with real ffmpeg behind them.

    It takes ITTYBIT_API_KEY and ITTYBIT_WEBHOOK_SECRET as its own, and reaches s3:// inputs
    and outputs with the usual AWS settings. Never expose it beyond this machine.
    """
    settings = Settings()
    # The newest secret signs; older ones are only for checking.
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
        Parameter(negative="", help="Use the real Ittybit and your own S3, not local ones."),
    ] = False,
    worker_limit: Annotated[int | None, Parameter(help="Flow runs at a time.")] = None,
) -> int:
    """Run the whole local stack until Ctrl-C: Prefect, worker, receiver, sandbox, S3.

    Each service has its log in .ittybatch/logs/ and is started again if it dies. Other
    `ittybatch` commands in this folder find the stack by themselves.
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
        console.print(f"\nPrefect UI   {stack.prefect_url}")
        for what, url in (
            ("Sign in with", stack.prefect_auth),
            ("Webhooks", f"{stack.receiver_url}/webhooks/ittybit"),
            ("Sandbox", stack.sandbox_url),
            ("S3", stack.s3_url),
        ):
            if url:
                console.print(f"{what:12} {url}")
        console.print(f"{'Logs':12} {stack.home / 'logs'}")
        console.print(f"{'Environment':12} set -a; . {stack.env_file}\n")
        console.print("Ctrl-C ends all of it.")
        try:
            stopping.wait()
        except KeyboardInterrupt:
            console.print("\nStopping ...")
    return SUCCEEDED
