"""The environment that the processes of a stack share, and its file for other shells."""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from ittybatch.env_file import LOCAL_S3
from ittybatch.errors import ConfigurationError
from ittybatch.settings import Settings
from ittybatch_local.keys import StackSecrets, write_private
from ittybatch_local.ports import HOST

WEBHOOK_PATH = "/webhooks/ittybit"
LOCAL_NAMES = f"{HOST},localhost"
S3_REGION = "us-east-1"
# Local S3 accepts any key. This one is from moto's documentation.
S3_KEY = "testing"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts that the stack runs. The user's own settings lead to the others."""

    sandbox: bool = True
    s3: bool = True
    worker: bool = True
    server: bool = True


def shared_environment(
    home: Path,
    parts: Parts,
    *,
    ports: Mapping[str, int],
    secrets: StackSecrets,
    ledger_url: str,
    intake_file: Path,
    settings: Settings,
    kind_costs: Mapping[str, float] | None = None,
) -> dict[str, str]:
    """Build the settings that the command line, the worker and the services share.

    Args:
        home: The folder of the stack.
        parts: The parts that the stack runs.
        ports: The port of each service, by name.
        secrets: The home's own secrets.
        ledger_url: The ledger's database.
        intake_file: What is declared about events.
        settings: The user's settings.
        kind_costs: Prices by kind, for a user who has set none.

    Raises:
        ConfigurationError: The stack does not run a part, and no setting leads to another.
    """
    return {
        "ITTYBATCH_HOME": str(home),
        "DATABASE_URL": ledger_url,
        # Flow runs work in temporary folders, where no file of the project is found.
        "ITTYBATCH_PROFILES_DIR": str(settings.profiles_dir),
        "ITTYBATCH_INTAKE_FILE": str(intake_file),
        **_prefect(home, parts, ports, secrets),
        **_ittybit(parts, ports, secrets, settings),
        **_api(parts, secrets, settings),
        **(
            {"ITTYBATCH_KIND_COSTS": json.dumps(kind_costs)}
            if kind_costs and not settings.kind_costs
            else {}
        ),
        **(_s3(ports) if parts.s3 else {}),
        **_without_proxy(),
    }


def process_environment(
    shared: Mapping[str, str], parts: Parts, inherited: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Build a child's complete environment: the shared settings over the user's.

    Args:
        shared: From `shared_environment`.
        parts: The parts that the stack runs. The user's own settings for them are removed.
        inherited: The user's environment, by default this process's.
    """
    theirs = os.environ if inherited is None else inherited
    foreign = (
        *(("PREFECT_",) if parts.server else ()),
        *(("AWS_",) if parts.s3 else ()),
        *(("ITTYBIT_",) if parts.sandbox else ()),
    )
    kept = {name: value for name, value in theirs.items() if not name.startswith(foreign)}
    return {**kept, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **shared}


def write_environment(path: Path, environment: Mapping[str, str]) -> None:
    """Write the environment for other shells: `set -a; . FILE`."""
    lines = [f"{name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
    write_private(path, "\n".join(lines) + "\n")


def secret_text(secret: SecretStr | None) -> str | None:
    """The text of an optional setting."""
    return None if secret is None else secret.get_secret_value()


def _prefect(
    home: Path, parts: Parts, ports: Mapping[str, int], secrets: StackSecrets
) -> dict[str, str]:
    own_home = {
        # Leave the user's own Prefect profiles and database alone.
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_PROFILES_PATH": str(home / "prefect" / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
    }
    if parts.server:
        return {
            **own_home,
            "PREFECT_API_URL": f"http://{HOST}:{ports['prefect']}/api",
            "PREFECT_API_AUTH_STRING": secrets.prefect_auth,
        }
    given = os.environ.get("PREFECT_API_URL")
    if not given:
        raise ConfigurationError(
            "PREFECT_API_URL is not set, and the stack starts no Prefect server.",
            remedy="Set it to your server's API, or start the stack with its own server.",
        )
    return {**own_home, "PREFECT_API_URL": given}


def _ittybit(
    parts: Parts, ports: Mapping[str, int], secrets: StackSecrets, settings: Settings
) -> dict[str, str]:
    if parts.sandbox:
        # The sandbox must never see a real key or secret.
        return {
            "ITTYBIT_API_URL": f"http://{HOST}:{ports['sandbox']}",
            "ITTYBIT_API_KEY": secrets.api_key,
            "ITTYBIT_WEBHOOK_SECRET": secrets.webhook_secret,
            "WEBHOOK_URL": f"http://{HOST}:{ports['receiver']}{WEBHOOK_PATH}",
        }
    api_key = settings.api_key
    if api_key is None:
        raise ConfigurationError(
            "ITTYBIT_API_KEY is not set, and the stack starts no sandbox.",
            remedy="Set it to a key of your project, or start the stack with its sandbox.",
        )
    given = {
        "ITTYBIT_API_URL": settings.api_url,
        "ITTYBIT_API_KEY": api_key.get_secret_value(),
        "ITTYBIT_WEBHOOK_SECRET": secret_text(settings.webhook_secret),
        "ITTYBIT_CONNECTION_ID": settings.connection_id,
        # Never the receiver's own URL: Ittybit cannot reach a loopback address.
        "WEBHOOK_URL": settings.webhook_url,
    }
    return {name: value for name, value in given.items() if value}


def _api(parts: Parts, secrets: StackSecrets, settings: Settings) -> dict[str, str]:
    given = {
        "ITTYBATCH_API_TOKEN": secret_text(settings.api_token) or secrets.api_token,
        # Like the profiles: services work in the project's folder, which may be another one.
        "ITTYBATCH_RESULTS_FILE": str(settings.results_file),
    }
    if (parts.s3 or parts.sandbox) and "allow_private_urls" not in settings.model_fields_set:
        # The local S3, and files that are served on this machine to the sandbox, are at private
        # addresses.
        given["ITTYBATCH_ALLOW_PRIVATE_URLS"] = "true"
    return given


def _s3(ports: Mapping[str, int]) -> dict[str, str]:
    return {
        LOCAL_S3: "true",
        "AWS_ENDPOINT_URL": f"http://{HOST}:{ports['s3']}",
        "AWS_ACCESS_KEY_ID": S3_KEY,
        "AWS_SECRET_ACCESS_KEY": S3_KEY,
        # boto3 reads AWS_DEFAULT_REGION, other SDKs AWS_REGION.
        "AWS_REGION": S3_REGION,
        "AWS_DEFAULT_REGION": S3_REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _without_proxy() -> dict[str, str]:
    found = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
    value = f"{found},{LOCAL_NAMES}" if found else LOCAL_NAMES
    return {"NO_PROXY": value, "no_proxy": value}
