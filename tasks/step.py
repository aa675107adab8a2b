"""What all tasks have in common."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task that remembers nothing.

    No step may depend on what Prefect remembers: a result cached under a task's source would
    be made again after every deploy. The ledger remembers.
    """

    def make(function: Callable[P, R]) -> Task[P, R]:
        return Task(
            function, name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False
        )

    return make
