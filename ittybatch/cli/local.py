"""Commands use the services of a running `ittybatch up`."""

import os

from rich.console import Console

from ittybatch.env_file import LOCAL_S3
from ittybatch.home import STACK_ENVIRONMENT, read_environment, stack_runs
from ittybatch.settings import Settings


def use_local_stack() -> None:
    """Load the environment of the stack that runs in this home, unless PREFECT_API_URL is set.

    Call it before the first import of Prefect, which reads its settings once.
    """
    if os.environ.get("PREFECT_API_URL"):
        return
    home = Settings().home
    if not stack_runs(home):
        return
    environment = read_environment(home / STACK_ENVIRONMENT)
    if LOCAL_S3 in environment:
        # An endpoint or a profile of a real bucket would override the stack's.
        for name in [each for each in os.environ if each.startswith("AWS_")]:
            del os.environ[name]
    os.environ.update(environment)
    Console(stderr=True, highlight=False).print(f"Using the local stack of {home}.", style="dim")
