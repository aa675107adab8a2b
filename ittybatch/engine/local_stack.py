"""Connect programs to the services of a local `ittybatch up` without configuration."""

import os
import sys
from pathlib import Path

from ittybatch.env_file import LOCAL_S3
from ittybatch.home import STACK_ENVIRONMENT, read_environment, stack_runs
from ittybatch.settings import Settings


def join_local_stack() -> Path | None:
    """Load the environment of the stack that runs in this home, unless PREFECT_API_URL is set.

    If the stack has its own S3, all `AWS_*` variables of this process are replaced. Prefect reads
    its settings on import. If it was already imported, they are refreshed.

    Returns:
        The stack's home; None if no stack was joined.

    Raises:
        ConfigurationError: A setting cannot be used.
    """
    if os.environ.get("PREFECT_API_URL"):
        return None
    home = Settings().home
    if not stack_runs(home):
        return None
    environment = read_environment(home / STACK_ENVIRONMENT)
    if LOCAL_S3 in environment:
        # The endpoint or profile of a real bucket would override the stack's endpoint.
        for name in [each for each in os.environ if each.startswith("AWS_")]:
            del os.environ[name]
    os.environ.update(environment)
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context  # noqa: PLC0415  see above

        refresh_global_settings_context()
    return home
