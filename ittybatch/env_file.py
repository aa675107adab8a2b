"""Settings in `.env` that other libraries read, which look at the environment alone."""

import os
from collections.abc import Iterable
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

# Set by a local stack with an S3 of its own: a real bucket's settings must not mix with it.
LOCAL_S3 = "ITTYBATCH_LOCAL_S3"
# What belongs together: half from the environment and half from a file would be neither.
_TOGETHER = (
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
    """Put the `AWS_*` and `PREFECT_*` of these files into the environment, which wins.

    Args:
        paths: The files, the later ones before the earlier ones; those that are missing do
            not matter.
    """
    prefixes = ("PREFECT_",) if os.environ.get(LOCAL_S3) else ("AWS_", "PREFECT_")
    found = _Everything(_env_file=tuple(paths)).model_extra or {}
    given = {name: value for name, value in found.items() if name.startswith(prefixes) and value}
    for group in _TOGETHER:
        if any(os.environ.get(name) for name in group):
            given = {name: value for name, value in given.items() if name not in group}
    for name, value in given.items():
        if not os.environ.get(name):
            os.environ[name] = value


class _Everything(BaseSettings):
    """Whatever names a file has."""

    model_config = SettingsConfigDict(extra="allow", case_sensitive=True)
