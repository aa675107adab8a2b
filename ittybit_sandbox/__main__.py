"""`python -m ittybit_sandbox`: serves a sandbox until Ctrl-C."""

import argparse
import os
import sys
from pathlib import Path

from pydantic import ValidationError

from ittybit_sandbox.config import SandboxConfig, WebhookDialect
from ittybit_sandbox.errors import SandboxError
from ittybit_sandbox.server import serve

_EPILOG = """environment:
  ITTYBIT_API_KEY         the API key that requests must carry (default: sandbox-key)
  ITTYBIT_WEBHOOK_SECRET  signs webhooks (default: sandbox-webhook-secret); of several,
                          separated by commas, the first
  AWS_*                   credentials and endpoint for s3:// inputs and outputs

Never expose it beyond this machine.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ittybit_sandbox",
        description="Run a local Ittybit: the same API and signed webhooks, with real ffmpeg.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=8400, help="port; 0 takes a free one (%(default)s)"
    )
    parser.add_argument(
        "--instant", action="store_true", help="complete jobs without encoding, for load tests"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the injected faults (%(default)s)"
    )
    parser.add_argument(
        "--faults", type=Path, metavar="FILE", help="YAML or JSON file of faults to inject"
    )
    parser.add_argument(
        "--dialect",
        choices=[dialect.value for dialect in WebhookDialect],
        default=WebhookDialect.FLAT.value,
        help="shape of webhooks (%(default)s)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="keep jobs and outputs here across restarts (default: a temporary folder)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    options = _parser().parse_args(argv)
    secrets = os.environ.get("ITTYBIT_WEBHOOK_SECRET", "").split(",")
    from_environment = {
        "api_key": os.environ.get("ITTYBIT_API_KEY", "").strip(),
        "webhook_secret": secrets[0].strip(),
    }
    settings = {
        "host": options.host,
        "port": options.port,
        "instant": options.instant,
        "seed": options.seed,
        "webhook_dialect": options.dialect,
        "state_dir": options.state,
    }
    if options.faults is not None:
        settings["faults"] = options.faults
    settings |= {name: value for name, value in from_environment.items() if value}
    try:
        serve(SandboxConfig.model_validate(settings))
    except (SandboxError, ValidationError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
