"""Settings in `.env` for libraries that read the environment alone: AWS's and Prefect's."""

import os
from collections.abc import Iterable
from pathlib import Path

from dotenv import dotenv_values

# A local stack sets it for its own S3, which settings of a real bucket must not mix with.
LOCAL_S3 = "ITTYBATCH_LOCAL_S3"
# Each group is one set of credentials or one region: the environment or `.env` gives all of it.
_GROUPS = (
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    },
    {"AWS_REGION", "AWS_DEFAULT_REGION"},
    {"PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_PROFILE"},
)


def export_env_files(paths: Iterable[str | Path]) -> None:
    """Add the `AWS_*` and `PREFECT_*` variables of these files to the environment.

    Variables that exist keep their values.

    Args:
        paths: The files. Later ones override earlier ones; missing ones are skipped.
    """
    prefixes = ("PREFECT_",) if os.environ.get(LOCAL_S3) else ("AWS_", "PREFECT_")
    found: dict[str, str | None] = {}
    for path in paths:
        found |= dotenv_values(Path(path).expanduser(), encoding="utf-8")
    given = {name: value for name, value in found.items() if name.startswith(prefixes) and value}
    for group in _GROUPS:
        if any(os.environ.get(name) for name in group):
            given = {name: value for name, value in given.items() if name not in group}
    for name, value in given.items():
        if not os.environ.get(name):
            os.environ[name] = value
