"""The local stack: programs beside a running `ittybatch up` find its services by themselves."""

import os
import sys
from pathlib import Path

from ittybatch.env_file import LOCAL_S3
from ittybatch.home import STACK_ENVIRONMENT, read_environment, stack_runs
from ittybatch.settings import Settings


def join_local_stack() -> Path | None:
    """Take over the environment of the stack that runs in this home, unless Prefect is set.

    Prefect reads its settings when it is imported; if it has been, it reads them again.

    Returns:
        The stack's home; None if no stack was joined.
    """
    if os.environ.get("PREFECT_API_URL"):
        return None
    home = Settings().home
    if not stack_runs(home):
        return None
    environment = read_environment(home / STACK_ENVIRONMENT)
    if LOCAL_S3 in environment:
        # An endpoint or a profile of a real bucket would win over the stack's own.
        for name in [each for each in os.environ if each.startswith("AWS_")]:
            del os.environ[name]
    os.environ.update(environment)
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context  # noqa: PLC0415  see above

        refresh_global_settings_context()
    return home
