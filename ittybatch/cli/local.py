"""Commands beside a running `ittybatch up` find its services by themselves."""

from rich.console import Console

from ittybatch.engine.local_stack import join_local_stack


def use_local_stack() -> None:
    """Join the stack that runs in this home, and say so.

    Call it before anything imports Prefect, which reads its settings once.
    """
    if home := join_local_stack():
        Console(stderr=True, highlight=False).print(
            f"Using the local stack of {home}.", style="dim"
        )
