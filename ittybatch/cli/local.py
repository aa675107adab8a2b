"""Connect commands to the services of a running `ittybatch up`."""

from rich.console import Console

from ittybatch.engine.local_stack import join_local_stack


def use_local_stack() -> None:
    """Connect to the stack that runs in this home, and print that.

    Call this before anything imports Prefect, which reads its settings once.
    """
    if home := join_local_stack():
        Console(stderr=True, highlight=False).print(
            f"Using the local stack of {home}.", style="dim"
        )
